//! Ringway in one process, and its command-line tools.

fn main() {}
