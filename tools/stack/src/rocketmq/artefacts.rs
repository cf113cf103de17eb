//! RocketMQ's jars, from its Maven artefacts, and what makes them start quickly. Made once a machine, in the cache.
//!
//! Three entries, each made from the one before: the jars, 137 of them, by Maven; the same folder has a jar of our own
//! with the service that keeps replication off the network, which needs a Java compiler; and an archive of loaded
//! classes (AppCDS), which brings a start from 3 s to less than 1 s. The archive holds the paths of the jars and the
//! version of the machine's Java, and is made again when either changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::programs;

/// The release that everything here was tried with.
pub(super) const VERSION: &str = "5.4.0";
/// Our jar's version: raised when its source changes.
const OWN_VERSION: u32 = 1;
/// Debian's packages.
const JAVA_PACKAGE: &str = "default-jdk-headless";
const MAVEN_PACKAGE: &str = "maven";
/// Options that the archive of classes must be made and used with alike.
pub(super) const OPTIONS: &[&str] =
    &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dtls.server.mode=disabled", "-Djava.net.preferIPv4Stack=true"];

const SERVICE_SOURCE: &str = include_str!("LoopbackHAService.java");
/// How the broker finds it; the folder's name has no `s`.
const SERVICE_ENTRY: &str = "META-INF/service/org.apache.rocketmq.store.ha.HAService";
const SERVICE_CLASS: &str = "ringway.stack.LoopbackHAService";

/// The Java that runs the servers.
pub(super) fn java() -> Result<PathBuf> {
    programs::find("java", JAVA_PACKAGE)
}

/// The jars as a class path, always in the same order.
pub(super) fn class_path() -> Result<String> {
    let folder = jars()?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jar") {
            paths.push(path.into_os_string().into_string().ok().context("a path that is no text")?);
        }
    }
    paths.sort_unstable();
    if paths.is_empty() {
        bail!("{} holds no jar; remove it and try again", folder.display());
    }
    Ok(paths.join(":"))
}

/// The folder of jars.
fn jars() -> Result<PathBuf> {
    cache::entry(&format!("rocketmq-{VERSION}-{OWN_VERSION}"), |folder| {
        let maven = programs::find("mvn", MAVEN_PACKAGE)?;
        let compiler = programs::find("javac", JAVA_PACKAGE)?;
        let archiver = programs::find("jar", JAVA_PACKAGE)?;
        let building = folder.join("building");
        fs::create_dir(&building)?;
        fs::write(building.join("pom.xml"), pom())?;
        let mut fetch = Command::new(maven);
        fetch.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        fetch.arg(format!("-DoutputDirectory={}", folder.display())).current_dir(&building);
        programs::output(&mut fetch).context("cannot fetch RocketMQ's artefacts")?;
        make_service(&building, &compiler, &archiver, folder)?;
        fs::remove_dir_all(&building)?;
        Ok(())
    })
}

fn make_service(building: &Path, compiler: &Path, archiver: &Path, jars: &Path) -> Result<()> {
    let source = building.join("LoopbackHAService.java");
    let classes = building.join("classes");
    let entry = classes.join(SERVICE_ENTRY);
    fs::create_dir_all(entry.parent().context("an entry without a folder")?)?;
    fs::write(&source, SERVICE_SOURCE)?;
    fs::write(&entry, SERVICE_CLASS)?;
    let mut compile = Command::new(compiler);
    compile.args(["--release", "11", "-cp"]).arg(jars.join("*")).arg("-d").arg(&classes).arg(&source);
    programs::output(&mut compile)?;
    let mut archive = Command::new(archiver);
    archive.arg("--create").arg("--file").arg(jars.join("ringway-stack.jar")).arg("-C").arg(&classes).arg(".");
    programs::output(&mut archive).map(drop)
}

fn pom() -> String {
    let artefact = |name: &str| {
        format!(
            "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>{name}</artifactId>\
             <version>{VERSION}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>ringway</groupId><artifactId>stack</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{}{}</dependencies></project>",
        artefact("rocketmq-namesrv"),
        artefact("rocketmq-broker")
    )
}

/// The archive of classes, made by `run`, which is given its path and lets a broker start and end in order with it.
pub(super) fn classes(run: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let entry = cache::entry(&archive_name()?, |folder| run(&folder.join("classes.jsa")))?;
    Ok(entry.join("classes.jsa"))
}

fn archive_name() -> Result<String> {
    // "openjdk 17.0.15 2025-04-15"
    let printed = programs::output(Command::new(java()?).arg("--version"))?;
    let version = printed.split_whitespace().nth(1).with_context(|| format!("no version in {printed:?}"))?;
    Ok(format!("rocketmq-{VERSION}-{OWN_VERSION}-classes-{version}"))
}
