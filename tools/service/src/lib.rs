//! What every Ringway process needs around its parts: a configuration, a log, signals, a ready line.
//!
//! | Module | Noun |
//! |---|---|
//! | [`config`] | tables of keys; file, environment and arguments that set them; printing; reload |
//! | [`sections`] | the tables that several processes share |
//! | [`log`] | lines on standard error, written by a thread of their own |
//! | [`failure`] | how a command fails: one line and an exit code |
//! | [`command`] | the command line of a process that only serves |
//! | [`signals`] | what asks a process to end or to read its configuration again |
//! | [`ready`] | the line that scripts wait for |
//! | [`machine`] | what a process asks of the machine |
//! | [`testing`] | what the tests of a process's table check |
//!
//! It knows no part of Ringway: a process hands its parts what its keys say.

pub mod command;
pub mod config;
pub mod failure;
pub mod log;
pub mod machine;
pub mod ready;
pub mod sections;
pub mod signals;
pub mod testing;
