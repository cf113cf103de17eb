//! More connections than one process may have descriptors: the generator starts more of itself, each for a share of the
//! people, and sums up what they found. This is the side of the one that was started first.
//!
//! ```text
//! parent                              child
//!   its people, one line of JSON --->   connects them
//!   <-------------------- connected
//!   go ----------------------------->   does its part to the end
//!   <------- figures, one line of JSON
//! ```
//!
//! A child has the parent's command line and looks up nothing that the parent knows. It ends when the parent is gone; the
//! parent fails when a child is.

mod child;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

pub(crate) use child::Parent;

use crate::people::Person;

/// Says that everybody is authenticated.
const CONNECTED: &str = "connected";
/// Says that the child's part begins.
const GO: &str = "go";

/// What one process said; `None`: it is gone.
type Said = (usize, Option<String>);

/// The processes that were started; ended when dropped.
pub(crate) struct Family {
    children: Vec<Child>,
    said: Receiver<Said>,
    connected: usize,
    /// Of each process, once it has said them.
    figures: Vec<Option<String>>,
}

impl Family {
    /// Starts a process for each share of at most `share_max` people; none, when there are no people. `first` is the number
    /// of the first of them in the whole run.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(crate) fn start(people: &[Person], share_max: usize, first: usize) -> anyhow::Result<Self> {
        let (say, said) = channel();
        let mut family = Self { children: Vec::new(), said, connected: 0, figures: Vec::new() };
        for (number, share) in people.chunks(share_max.max(1)).enumerate() {
            let child = start(first + number * share_max, share, number, say.clone())?;
            family.children.push(child);
            family.figures.push(None);
        }
        Ok(family)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether all have connected their people.
    ///
    /// # Errors
    /// One of them is gone.
    pub(crate) fn are_connected(&mut self) -> anyhow::Result<bool> {
        self.listen()?;
        Ok(self.connected == self.children.len())
    }

    /// Their part begins.
    ///
    /// # Errors
    /// One of them is gone.
    pub(crate) fn go(&mut self) -> anyhow::Result<()> {
        for child in &mut self.children {
            writeln!(child.stdin.as_mut().context("a process without input")?, "{GO}").context("a process is gone")?;
        }
        Ok(())
    }

    /// What they found, once all have said it.
    ///
    /// # Errors
    /// One of them is gone before.
    pub(crate) fn figures<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<Vec<T>>> {
        self.listen()?;
        let Some(lines) = self.figures.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let figures = lines.into_iter().map(|line| serde_json::from_str(line).context("a process's figures"));
        figures.collect::<anyhow::Result<_>>().map(Some)
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        loop {
            match self.said.try_recv() {
                Ok((_, Some(line))) if line == CONNECTED => self.connected += 1,
                Ok((number, line)) => match (self.figures.get_mut(number), line) {
                    (Some(figures), Some(line)) => *figures = Some(line),
                    (Some(Some(_)), None) => {}
                    _ => bail!("process {} ended before its part was done (see above)", number + 2),
                },
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Whoever is done has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(first: usize, share: &[Person], number: usize, say: Sender<Said>) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).args(["--share", &first.to_string()]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("a further process of the generator")?;
    let mut people = serde_json::to_vec(share)?;
    people.push(b'\n');
    child.stdin.as_mut().context("a process without input")?.write_all(&people).context("a process is gone")?;
    let output = BufReader::new(child.stdout.take().context("a process without output")?);
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // The parent may have failed meanwhile: then nobody listens.
            let _ = say.send((number, Some(line)));
        }
        let _ = say.send((number, None));
    });
    Ok(child)
}
