//! Who else wants to know of answered requests of the public listener: whoever exports traces.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// An answered request, without anything of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// A method of HTTP that is in use here, or `OTHER`.
    pub method: &'static str,
    /// The pattern of the route table that it fits; none when it fits none.
    pub route: Option<&'a str>,
    /// Status of the answer.
    pub status: u16,
    /// From its head to its answer.
    pub took: Duration,
}

/// Is told of each answered request, by whoever answers it, who waits: it must not take long.
pub type RequestWatcher = Box<dyn Fn(&Answered<'_>) + Send + Sync>;

/// A place for a watcher; filled once, or never.
#[derive(Default)]
pub(crate) struct Watch(OnceLock<RequestWatcher>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.get().is_some()).finish()
    }
}

impl Watch {
    /// The first watcher stays.
    pub(crate) fn begin(&self, watcher: RequestWatcher) {
        let _ = self.0.set(watcher);
    }

    pub(crate) fn tell(&self, answered: &Answered<'_>) {
        if let Some(watcher) = self.0.get() {
            watcher(answered);
        }
    }
}
