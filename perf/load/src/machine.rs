//! Where a figure was got: machine, kernel, processor, command.

use std::fs;

use serde::Serialize;

/// The place of a measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Processor.
    pub(crate) cpu: String,
    /// Processors that this process may use.
    pub(crate) cores_usable: usize,
    /// Processors of the machine.
    pub(crate) cores: usize,
    /// Bytes of memory.
    pub(crate) memory_bytes: u64,
    /// Kernel release.
    pub(crate) kernel: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processors = text("/proc/cpuinfo");
        let model =
            processors.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
        let memory = text("/proc/meminfo");
        let memory_kib = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cores_usable: std::thread::available_parallelism().map_or(1, usize::from),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_bytes: memory_kib.unwrap_or(0) * 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The command line of this process.
pub(crate) fn command() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}
