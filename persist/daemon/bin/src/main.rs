//! The persist process.

mod background;
mod config;
mod drift;
mod holes;
mod months;
mod node;
mod orders;
mod push;
mod reminding;

use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};

fn main() -> ExitCode {
    let about = "Ringway's persist daemon: RocketMQ's queues into MySQL, changes and nudges to the gateways";
    let replay =
        Arg::new(orders::REPLAY).long(orders::REPLAY).value_name("QUEUE=OFFSET").action(ArgAction::Append).help(
            "Read a queue again from there before anything else, for repair; all=earliest: every queue from its start",
        );
    let drift = Arg::new(orders::CHECK_DRIFT)
        .long(orders::CHECK_DRIFT)
        .action(ArgAction::SetTrue)
        .conflicts_with(orders::REPLAY)
        .help("Compare Redis with the database once, repair what has drifted, print what it was, and end");
    let command = Command::new("ringway-persist").version(env!("CARGO_PKG_VERSION")).about(about).args([replay, drift]);
    ringway_parts::process::run::<node::Node>(command)
}
