//! The house rules that a program can see, over every file that git would take into the tree.
//!
//! Each rule is a pure function from the tree's files to offences; `check` reads the files once and applies them all.
//! A new rule goes into the file of its noun and into `RULES`.

mod dependencies;
mod layout;
mod length;
mod links;
mod source;
mod unsafety;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// One file of the tree. Its path is relative to the root, with `/` between the parts.
pub(crate) struct File {
    path: String,
    /// Empty for what is no text.
    text: String,
}

/// Where a rule is broken, and how.
pub(crate) struct Offence {
    path: String,
    /// Counted from 1; 0 when it is not about a line.
    line: usize,
    what: String,
}

impl Offence {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, what: what.into() }
    }

    fn of_path(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), line: 0, what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

type Rule = fn(&[File]) -> Vec<Offence>;

const RULES: &[Rule] = &[
    layout::top_level,
    layout::readmes,
    layout::module_docs,
    length::files,
    length::functions,
    unsafety::only_in_the_ring,
    unsafety::with_a_reason,
    dependencies::of_the_engine,
    dependencies::lints_on,
    words::unfinished,
    words::hosts,
    words::machine_paths,
    links::resolve,
];

/// Applies every rule to the tree at `root`.
pub(crate) fn check(root: &Path) -> Result<String> {
    let files = read(root)?;
    let mut offences: Vec<Offence> = RULES.iter().flat_map(|rule| rule(&files)).collect();
    offences.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for offence in &offences {
        println!("{offence}");
    }
    if !offences.is_empty() {
        bail!("{} offences in {} files", offences.len(), files.len());
    }
    Ok(format!("{} rules, {} files", RULES.len(), files.len()))
}

/// The files git knows and those it would add, without the deleted.
fn read(root: &Path) -> Result<Vec<File>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let list = process::output(Command::new("git").current_dir(root).args(arguments))?;
    let mut paths: Vec<&str> = list.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let place = root.join(path);
        if place.is_file() {
            let text = String::from_utf8(fs::read(&place)?).unwrap_or_default();
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

impl File {
    /// What follows the last dot of its name.
    fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The last part of its path.
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The folder it is in, `""` for the root.
    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether it holds tests and nothing else.
    fn is_only_tests(&self) -> bool {
        self.name().ends_with("tests.rs") || self.folder().split('/').any(|part| part == "tests" || part == "test")
    }

    fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Its lines, counted from 1.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// What the rules' tests share.
#[cfg(test)]
mod sample {
    use super::{File, Rule};

    pub(super) fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Expects exactly the offences given as they print, in any order.
    #[track_caller]
    pub(super) fn check(rule: Rule, files: &[File], expected: &[&str]) {
        let mut found: Vec<String> = rule(files).iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, expected);
    }
}
