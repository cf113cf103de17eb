//! The command line of a process that only serves: `PROGRAM [--config FILE] [--SECTION.KEY VALUE]… [config]`.
//!
//! Every key is an argument by its own name. `config` prints what the process would run with.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{Settings, Sources, print};
use crate::failure::{Failure, exit};

/// The argument that names the file.
const FILE: &str = "config";
/// The command that prints.
const PRINT: &str = "config";

/// What a process was asked to do.
#[derive(Debug)]
enum Task<C> {
    Print(C),
    Serve(Sources, C, ArgMatches),
}

/// Reads the command line and does what it says: prints the configuration, or has `serve` serve with it until
/// the end. `command` names the program and may bring further arguments of its own.
pub fn run<C: Settings>(
    command: Command,
    serve: impl FnOnce(Sources, C, &ArgMatches) -> Result<(), Failure>,
) -> ExitCode {
    let program = command.get_name().to_owned();
    let matches = arguments::<C>(command).get_matches();
    let outcome = read::<C>(matches).and_then(|task| match task {
        Task::Print(config) => {
            // A reader that has seen enough closes its end.
            let _ = std::io::stdout().write_all(print(&config).as_bytes());
            Ok(())
        }
        Task::Serve(sources, config, matches) => serve(sources, config, &matches),
    });
    exit(&program, outcome)
}

fn read<C: Settings>(matches: ArgMatches) -> Result<Task<C>, Failure> {
    let sources = sources::<C>(&matches);
    let config = sources.load::<C>().map_err(Failure::Usage)?;
    Ok(match matches.subcommand_name() {
        Some(_) => Task::Print(config),
        None => Task::Serve(sources, config, matches),
    })
}

/// The command with an argument for each key.
fn arguments<C: Settings>(command: Command) -> Command {
    let file = Arg::new(FILE)
        .long("config")
        .env("RINGWAY_CONFIG")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Configuration file; the command `config` prints one with every key");
    let keys = C::keys().into_iter().map(|key| {
        // The parser keeps names for as long as it lives, which is as long as the process reads its arguments.
        let path: &'static str = Box::leak(key.path().into_boxed_str());
        let argument = Arg::new(path).long(path).value_name("VALUE").global(true).hide_short_help(true);
        argument
            .action(ArgAction::Set)
            .allow_hyphen_values(true)
            .help(key.doc)
            .help_heading("Keys of the configuration")
    });
    let print = Command::new(PRINT)
        .about("Print every configuration key with value, default, unit and doc, as a configuration file");
    command.disable_help_subcommand(true).arg(file).args(keys).subcommand(print)
}

/// File, environment and arguments.
fn sources<C: Settings>(matches: &ArgMatches) -> Sources {
    let file = matches.get_one::<PathBuf>(FILE).cloned();
    C::keys().into_iter().fold(Sources::new(file), |sources, key| {
        let path = key.path();
        let value = matches.get_one::<String>(&path);
        sources.flag(&path, &format!("--{path}"), value)
    })
}

/// What a process would do with these arguments, for the tests of its command line.
///
/// # Errors
/// As the process would say it.
pub fn load_from<C: Settings>(
    command: Command,
    arguments_of: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<C, String> {
    let matches = arguments::<C>(command).try_get_matches_from(arguments_of).map_err(|error| error.to_string())?;
    sources::<C>(&matches).load::<C>().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample::Config;

    fn load(arguments: &[&str]) -> Result<Config, String> {
        load_from(Command::new("sample"), [&["sample"], arguments].concat())
    }

    #[test]
    fn every_key_is_an_argument_and_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.toml");
        std::fs::write(&path, "[gateway]\nnode = 1\nshards = 2\n").unwrap();
        let file = path.to_str().unwrap();
        for arguments in
            [vec!["--config", file, "--gateway.node", "5"], vec!["config", "--config", file, "--gateway.node", "5"]]
        {
            let config = load(&arguments).unwrap();
            assert_eq!((config.numbering.node, config.gateway.shards), (5, 2));
        }
        for key in Config::keys() {
            let error = load(&[&format!("--{}", key.path())]).unwrap_err();
            assert!(error.contains("a value is required"), "{error}");
        }
    }

    #[test]
    fn a_wrong_argument_is_told_by_its_name() {
        assert!(load(&["--gateway.nod", "5"]).unwrap_err().contains("--gateway.node"));
        let error = load(&["--gateway.node", "64"]).unwrap_err();
        assert!(error.contains("--gateway.node: gateway.node must lie between 0 and 63"), "{error}");
    }
}
