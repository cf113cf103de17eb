//! The `ringway` program as scripts meet it: real processes, ports of their own, temporary folders.

mod configuration;
mod program;
mod reload;
mod start;
mod stop;
mod tools;
