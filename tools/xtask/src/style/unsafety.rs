//! `unsafe` lives in the ring layer, and in the ring of what measures it; each block says why it is sound.

use super::source::{code_only, has_word};
use super::{File, Offence};

const RING: &str = "shards/ring/";
/// The floor would measure that layer, and the load generator be measured by it, if they were built on it.
const PERF_RING: &str = "perf/ring/";

fn is_ring(file: &File) -> bool {
    file.path.starts_with(RING) || file.path.starts_with(PERF_RING)
}

/// No other layer has any.
pub(super) fn only_in_the_ring(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !is_ring(file)) {
        for (index, line) in code_only(&file.text).lines().enumerate() {
            if has_word(line, "unsafe") {
                offences.push(Offence::new(file, index + 1, format!("unsafe outside {RING}")));
            }
        }
    }
    offences
}

/// A block or an implementation has a SAFETY comment right before it.
pub(super) fn with_a_reason(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && is_ring(file)) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in code_only(&file.text).lines().enumerate() {
            let asserts = ["{", "impl"]
                .iter()
                .any(|what| line.split_once("unsafe ").is_some_and(|(_, rest)| rest.trim_start().starts_with(what)));
            if asserts && !explained(&lines, index) {
                offences.push(Offence::new(file, index + 1, "unsafe without a `// SAFETY:` comment before it"));
            }
        }
    }
    offences
}

/// The comment may stand before the statement that holds the block: lines up to the end of the one before are looked at.
fn explained(lines: &[&str], index: usize) -> bool {
    let before = lines.get(..index).unwrap_or_default().iter().rev().map(|line| line.trim());
    let ends = |line: &str| {
        let is_comment = line.starts_with("//");
        !is_comment && (line.is_empty() || line.ends_with([';', '{', '}']))
    };
    before.take_while(|line| !ends(line)).any(|line| line.starts_with("//") && line.contains("SAFETY"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    #[test]
    fn unsafe_outside_the_ring_is_found() {
        let files = [
            file("engine/src/a.rs", "//! No unsafe here.\n#![deny(unsafe_code)]\nlet x = \"unsafe\";\n"),
            file("engine/src/b.rs", "fn f() {\n    unsafe { g() }\n}\n"),
            file("shards/ring/src/c.rs", "fn f() {\n    // SAFETY: it is.\n    unsafe { g() }\n}\n"),
            file("perf/ring/src/ring.rs", "fn f() {\n    // SAFETY: it is.\n    unsafe { g() }\n}\n"),
        ];
        check(only_in_the_ring, &files, &["engine/src/b.rs:2: unsafe outside shards/ring/"]);
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let text = "\
fn f() {
    // SAFETY: the pointer was just made,
    // and is not shared.
    let x =
        unsafe { g() };
    let y = unsafe { g() };
    /// # Safety: a function's is for its caller.
    unsafe fn h() {}
}
unsafe impl Send for X {}
";
        let what = "unsafe without a `// SAFETY:` comment before it";
        let expected = [format!("shards/ring/src/c.rs:10: {what}"), format!("shards/ring/src/c.rs:6: {what}")];
        check(with_a_reason, &[file("shards/ring/src/c.rs", text)], &[&expected[0], &expected[1]]);
    }
}
