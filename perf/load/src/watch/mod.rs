//! Looking at a run while it goes on: a line on the terminal, and a log of one-second histograms.
//!
//! The thread of the run hands over what it has counted four times a second, if anybody looks; all else happens on a
//! thread of its own, which ends with the [`Watch`]. Nobody looks: it costs a comparison a turn.
//!
//! What the run has counted is a sum; the watching thread subtracts what it saw before.

mod line;
mod log;

use std::fs::File;
use std::io::IsTerminal as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::options::Options;
use line::Line;
use log::Log;

/// Between two looks.
const LOOK_NS: u64 = 250_000_000;

/// What a scenario has counted so far; its histograms are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Glance<'a> {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages that came, each receiver counted.
    pub(crate) delivered: u64,
    /// Messages sent of which not everything came yet.
    pub(crate) under_way: u64,
    /// Whether nothing was found wrong so far.
    pub(crate) is_clean: bool,
    /// The measured window.
    pub(crate) window: (u64, u64),
    /// From due to delivered.
    pub(crate) to_delivery: &'a Histogram<u64>,
    /// From due to answered.
    pub(crate) to_sent: &'a Histogram<u64>,
    /// From due to handed over.
    pub(crate) lag: &'a Histogram<u64>,
}

/// The same, owned, with what the network knows. Its room is used again.
struct Moment {
    at_ns: u64,
    ready: usize,
    /// Whether a scenario that sends has counted.
    sends: bool,
    sent: u64,
    delivered: u64,
    under_way: u64,
    is_clean: bool,
    window: (u64, u64),
    to_delivery: Histogram<u64>,
    to_sent: Histogram<u64>,
    lag: Histogram<u64>,
}

/// See the module's head.
pub(crate) struct Watch {
    due_ns: u64,
    moments: Option<Sender<Moment>>,
    used: Receiver<Moment>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Watch {
    /// As the options say: nobody looks when there is neither a terminal nor a log.
    ///
    /// # Errors
    /// The log cannot be made.
    pub(crate) fn of(options: &Options) -> anyhow::Result<Option<Self>> {
        let wants_line = options.share.is_none() && (options.live || std::io::stderr().is_terminal());
        let line = wants_line.then(|| Line::new(options));
        let create = |file: &std::path::PathBuf| File::create(file).with_context(|| format!("{}", file.display()));
        let log = options.intervals.as_ref().filter(|_| options.share.is_none()).map(create).transpose()?;
        if line.is_none() && log.is_none() {
            return Ok(None);
        }
        let (moments, given) = channel();
        let (give_back, used) = channel();
        let thread = std::thread::spawn(move || watch(line, log, &given, &give_back));
        Ok(Some(Self { due_ns: 0, moments: Some(moments), used, thread: Some(thread) }))
    }

    /// When something is to be shown again.
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Shows what was counted.
    pub(crate) fn show(&mut self, ready: usize, glance: Option<Glance<'_>>) {
        let at_ns = now_ns();
        self.due_ns = at_ns + LOOK_NS;
        let moment = match self.used.try_recv() {
            Ok(moment) => Some(moment),
            Err(_) => Moment::new(),
        };
        let Some(mut moment) = moment else { return };
        (moment.at_ns, moment.ready, moment.sends) = (at_ns, ready, glance.is_some());
        if let Some(glance) = glance {
            moment.take(&glance);
        }
        if let Some(moments) = &self.moments {
            // The thread ends early only when its log cannot be written, which is told at the end.
            let _ = moments.send(moment);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.moments = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("ringway-load: --intervals: {error:#}");
        }
    }
}

impl Moment {
    /// `None`: no memory for it.
    fn new() -> Option<Self> {
        let histogram = || Histogram::new(3).ok();
        Some(Self {
            at_ns: 0,
            ready: 0,
            sends: false,
            sent: 0,
            delivered: 0,
            under_way: 0,
            is_clean: true,
            window: (u64::MAX, u64::MAX),
            to_delivery: histogram()?,
            to_sent: histogram()?,
            lag: histogram()?,
        })
    }

    fn take(&mut self, glance: &Glance<'_>) {
        (self.sent, self.delivered, self.under_way) = (glance.sent, glance.delivered, glance.under_way);
        (self.is_clean, self.window) = (glance.is_clean, glance.window);
        let histograms = [
            (&mut self.to_delivery, glance.to_delivery),
            (&mut self.to_sent, glance.to_sent),
            (&mut self.lag, glance.lag),
        ];
        for (to, from) in histograms {
            // It grows as it must, so there is nothing that it could not take.
            let _ = to.set_to(from);
        }
    }
}

fn watch(
    mut line: Option<Line>,
    log: Option<File>,
    given: &Receiver<Moment>,
    give_back: &Sender<Moment>,
) -> anyhow::Result<()> {
    let mut log = log.map(Log::new).transpose()?;
    let mut before: Option<Moment> = None;
    for moment in given {
        if let Some(line) = &mut line {
            line.draw(&moment);
        }
        if let Some(log) = &mut log {
            log.look(&moment)?;
        }
        if let Some(used) = before.replace(moment) {
            // The run is over: no room is needed any more.
            let _ = give_back.send(used);
        }
    }
    if let Some(line) = line {
        line.clear();
    }
    match (log, before) {
        (Some(log), Some(last)) => log.finish(&last),
        _ => Ok(()),
    }
}
