//! The command line and the files that the name server and the broker have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::artefacts;
use super::tls::RocketMqTls;

/// Warnings, on standard output. Without it both fill folders of the user's home.
const LOGGING: &str = r#"<configuration>
  <appender name="out" class="org.apache.rocketmq.logging.ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c - %m%n</pattern></encoder>
  </appender>
  <!-- It would say each second that it has nothing to do. -->
  <logger name="RocketmqPop" level="ERROR"/>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;
const LOGGING_FILE: &str = "logback.xml";

/// One Java program with its memory.
pub(super) struct Program<'a> {
    /// Its main class.
    pub(super) main: &'a str,
    /// How much memory it may take.
    pub(super) memory: &'a [&'a str],
    /// Its file of properties, in its folder.
    pub(super) properties: &'a str,
}

impl Program<'_> {
    /// Writes the file of properties and what else it wants to find in its folder.
    pub(super) fn write(&self, folder: &Path, properties: &[(&str, String)]) -> Result<()> {
        let lines: String = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let file = folder.join(self.properties);
        fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))?;
        fs::write(folder.join(LOGGING_FILE), LOGGING).context("cannot write the logging's settings")
    }

    /// The command that runs it in its folder.
    pub(super) fn command(&self, folder: &Path, classes: &Classes, tls: Option<&RocketMqTls>) -> Result<Command> {
        let mut command = Command::new(artefacts::java()?);
        command.args(artefacts::OPTIONS).args(self.memory).args(tls.map(RocketMqTls::arguments).unwrap_or_default());
        match classes {
            Classes::Plain => {}
            Classes::Archived(archive) => {
                command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
                // An archive that does not fit is left out; that is worth no line in the log.
                command.args(["-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]);
            }
            Classes::ToArchive(archive) => {
                command.arg(format!("-XX:ArchiveClassesAtExit={}", archive.display()));
            }
        }
        command.arg(format!("-Duser.home={}", folder.display()));
        // A library that it unpacks at each start stays there when it is killed.
        command.arg(format!("-Djava.io.tmpdir={}", folder.display()));
        command.arg(format!("-Drmq.logback.configurationFile={}", folder.join(LOGGING_FILE).display()));
        command.arg("-cp").arg(artefacts::class_path()?).arg(self.main);
        command.arg("-c").arg(folder.join(self.properties));
        command.env("ROCKETMQ_HOME", folder).current_dir(folder);
        Ok(command)
    }
}

/// Where the classes of a start come from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Classes {
    /// The jars.
    Plain,
    /// An archive, and the jars.
    Archived(PathBuf),
    /// The jars; those that were used make an archive at an orderly end.
    ToArchive(PathBuf),
}
