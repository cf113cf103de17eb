//! Open-loop load generator.

fn main() {}
