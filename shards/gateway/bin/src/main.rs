//! The gateway process.

mod config;
mod node;
mod plan;
mod port;

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = "Ringway's gateway: WebSocket clients on one side, RocketMQ, Redis and MySQL on the other";
    let command = clap::Command::new("ringway-gateway").version(env!("CARGO_PKG_VERSION")).about(about);
    ringway_parts::process::run::<node::Node>(command)
}
