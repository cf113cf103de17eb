//! What the crates may depend on, and that they have the workspace's lints on.

use toml::{Table, Value};

use super::{File, Offence};

/// The engine's dependencies. None of them does I/O, reads a clock or draws randomness for us; a new one is added here
/// with the same certainty.
const ENGINE: &[&str] = &[
    "base64",
    "bytes",
    "compact_str",
    "crc-fast",
    "flate2",
    "foldhash",
    "hashbrown",
    "httparse",
    "prost",
    "rkyv",
    "rustc-hash",
    "serde",
    "serde_json",
    "sha2",
    "simdutf8",
    "slab",
    "smallvec",
    "thiserror",
    "tungstenite",
];
const ENGINE_MANIFEST: &str = "engine/Cargo.toml";
const RING_MANIFEST: &str = "shards/ring/Cargo.toml";
/// The fuzz targets are a workspace of their own, out of reach of the lints.
const WITHOUT_LINTS: &[&str] = &["Cargo.toml", "engine/fuzz/Cargo.toml"];

/// The engine depends on what the list allows.
pub(super) fn of_the_engine(files: &[File]) -> Vec<Offence> {
    let Some(file) = files.iter().find(|file| file.path == ENGINE_MANIFEST) else { return Vec::new() };
    let manifest = match parse(file) {
        Ok(manifest) => manifest,
        Err(offence) => return vec![offence],
    };
    let mut names: Vec<String> = names_in(&manifest, "dependencies");
    names.extend(names_in(&manifest, "build-dependencies"));
    for target in manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values) {
        names.extend(target.as_table().map(|target| names_in(target, "dependencies")).unwrap_or_default());
    }
    let strangers = names.into_iter().filter(|name| !ENGINE.contains(&name.as_str()));
    strangers.map(|name| Offence::new(file, 0, format!("the engine may not depend on {name}"))).collect()
}

/// Every crate of the workspace takes the workspace's lints. The ring, which alone may allow unsafe code, cannot take
/// them and change one; so it repeats them.
pub(super) fn lints_on(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    let root =
        files.iter().find(|file| file.path == "Cargo.toml").and_then(|file| parse(file).ok()).unwrap_or_default();
    let wanted = root.get("workspace").and_then(|workspace| workspace.get("lints"));
    let manifests = files.iter().filter(|file| file.name() == "Cargo.toml");
    for file in manifests.filter(|file| !WITHOUT_LINTS.contains(&file.path.as_str())) {
        match parse(file) {
            Ok(manifest) => {
                let lints = manifest.get("lints");
                let taken = lints.and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true);
                let repeated = file.path == RING_MANIFEST && repeats(lints, wanted);
                if !taken && !repeated {
                    offences.push(Offence::new(file, 0, "does not take the workspace's lints"));
                }
            }
            Err(offence) => offences.push(offence),
        }
    }
    offences
}

/// Whether the workspace's lints are all there, but for the one on unsafe code; more may be.
fn repeats(lints: Option<&Value>, wanted: Option<&Value>) -> bool {
    let groups = wanted.and_then(Value::as_table).into_iter().flatten();
    groups.flat_map(|(group, wanted)| wanted.as_table().into_iter().flatten().map(move |lint| (group, lint))).all(
        |(group, (name, level))| {
            let own = lints.and_then(|lints| lints.get(group)).and_then(|group| group.get(name));
            name == "unsafe_code" || own == Some(level)
        },
    )
}

fn parse(file: &File) -> Result<Table, Offence> {
    file.text.parse().map_err(|error| Offence::new(file, 0, format!("is no TOML: {error}")))
}

/// The real names of the packages in a table of dependencies.
fn names_in(table: &Table, section: &str) -> Vec<String> {
    let dependencies = table.get(section).and_then(Value::as_table).into_iter().flatten();
    let name = |(key, value): (&String, &Value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned();
    dependencies.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    #[test]
    fn an_engine_that_does_io_is_found() {
        let manifest = "\
[dependencies]
bytes.workspace = true
tokio.workspace = true
clock = { package = \"rand\", version = \"1\" }
[target.'cfg(unix)'.dependencies]
libc = \"1\"
[dev-dependencies]
proptest.workspace = true
";
        let expected =
            ["libc", "rand", "tokio"].map(|name| format!("engine/Cargo.toml: the engine may not depend on {name}"));
        check(of_the_engine, &[file("engine/Cargo.toml", manifest)], &[&expected[0], &expected[1], &expected[2]]);
        check(of_the_engine, &[file("shards/gateway/Cargo.toml", manifest)], &[]);
    }

    #[test]
    fn the_ring_repeats_the_lints_and_allows_unsafe_code() {
        let root = file("Cargo.toml", "[workspace.lints]\nrust = { a = \"deny\", unsafe_code = \"deny\" }\n");
        let ring = |lints| file(RING_MANIFEST, lints);
        let what = "shards/ring/Cargo.toml: does not take the workspace's lints";
        check(lints_on, &[root, ring("[lints.rust]\na = \"deny\"\nb = \"deny\"\nunsafe_code = \"allow\"\n")], &[]);
        let root = file("Cargo.toml", "[workspace.lints]\nrust = { a = \"deny\" }\n");
        check(lints_on, &[root, ring("[lints.rust]\na = \"warn\"\n"), file("LICENSE", "")], &[what]);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let files = [
            file("Cargo.toml", "[workspace]\n"),
            file("engine/Cargo.toml", "[lints]\nworkspace = true\n"),
            file("tools/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            file("tools/b/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n"),
        ];
        let what = "does not take the workspace's lints";
        check(lints_on, &files, &[&format!("tools/a/Cargo.toml: {what}"), &format!("tools/b/Cargo.toml: {what}")]);
    }
}
