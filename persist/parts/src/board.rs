//! What a process waits for or misses: the reasons of `/readyz`, and what the process measures and remembers.
//!
//! Shared by all tasks of the process; a lock is held for a moment and never across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that tells why a process is not ready; empty while nothing speaks against it.
pub type Judge = Box<dyn Fn() -> Vec<String> + Send + Sync>;
/// Something that tells Prometheus text.
pub type Measure = Box<dyn Fn() -> String + Send + Sync>;

/// Something that remembers hops of a message, told by its id: a JSON array of them.
pub type Recall = Box<dyn Fn(u64) -> String + Send + Sync>;

/// The board of one process.
#[derive(Default)]
pub struct Board {
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    missing: BTreeMap<String, String>,
    judges: Vec<Judge>,
    measures: Vec<Measure>,
    recalls: Vec<Recall>,
}

impl Board {
    /// A new one, on which the process itself is starting.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let board = Arc::new(Self::default());
        board.miss("process", "is starting");
        board
    }

    /// A part is missing, or does not do what it should. Answers whether that is news.
    pub fn miss(&self, part: &str, why: &str) -> bool {
        // Parts tell errors under their own name.
        let why = why.strip_prefix(part).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
        self.written().missing.insert(part.to_owned(), why.to_owned()).is_none()
    }

    /// A part is there. Answers whether that is news.
    pub fn found(&self, part: &str) -> bool {
        self.written().missing.remove(part).is_some()
    }

    /// Asks this one too, from here on.
    pub fn add_judge(&self, judge: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.written().judges.push(Box::new(judge));
    }

    /// Measures this too, from here on.
    pub fn add_measure(&self, measure: impl Fn() -> String + Send + Sync + 'static) {
        self.written().measures.push(Box::new(measure));
    }

    /// Asks this one too for hops of messages, from here on.
    pub fn add_hops(&self, recall: impl Fn(u64) -> String + Send + Sync + 'static) {
        self.written().recalls.push(Box::new(recall));
    }

    /// What is remembered of a message: a JSON array of hops from each that remembers any.
    #[must_use]
    pub fn hops(&self, msg_id: u64) -> Vec<String> {
        self.written().recalls.iter().map(|recall| recall(msg_id)).collect()
    }

    /// Why the process is not ready; empty when it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let written = self.written();
        let missing = written.missing.iter().map(|(part, why)| format!("{part}: {why}"));
        missing.chain(written.judges.iter().flat_map(|judge| judge())).collect()
    }

    /// Prometheus texts of all that measures, and whether the process is ready.
    #[must_use]
    pub fn measures(&self) -> Vec<String> {
        let ready = u8::from(self.reasons().is_empty());
        let name = "ringway_ready";
        let of_ready =
            format!("# HELP {name} 1 while nothing speaks against it.\n# TYPE {name} gauge\n{name} {ready}\n");
        let written = self.written();
        written.measures.iter().map(|measure| measure()).chain([of_ready]).collect()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn reasons_are_what_is_missing_and_what_judges_say() {
        let board = Board::new();
        assert_eq!(board.reasons(), ["process: is starting"]);
        assert!(board.miss("mysql", "does not answer") && !board.miss("mysql", "mysql: still does not answer"));
        let full = Arc::new(AtomicBool::new(true));
        let judged = Arc::clone(&full);
        board.add_judge(move || judged.load(Relaxed).then(|| "the spool is full".to_owned()).into_iter().collect());
        assert_eq!(board.reasons(), ["mysql: still does not answer", "process: is starting", "the spool is full"]);
        assert!(board.measures().concat().contains("\nringway_ready 0\n"));
        assert!(board.found("mysql") && !board.found("mysql") && board.found("process"));
        full.store(false, Relaxed);
        board.add_measure(|| "other 7\n".to_owned());
        assert!(board.reasons().is_empty());
        assert!(board.measures().concat().starts_with("other 7\n") && board.measures().concat().ends_with(" 1\n"));
    }

    #[test]
    fn every_part_that_remembers_messages_is_asked_for_hops() {
        let board = Board::new();
        assert!(board.hops(7).is_empty());
        board.add_hops(|msg_id| format!("[{msg_id}]"));
        board.add_hops(|_| "[]".to_owned());
        assert_eq!(board.hops(7), ["[7]", "[]"]);
    }
}
