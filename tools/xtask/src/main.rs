//! The project's own chores: every check, installs what it lacks.

fn main() {}
