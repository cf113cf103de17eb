//! Where things lie: the top level, the READMEs, the module docs.

use std::collections::BTreeSet;

use super::{File, Offence};

/// What the top level may hold besides files whose names begin with a dot.
const TOP_LEVEL: &[&str] =
    &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "engine", "shards", "persist", "tools", "perf", "deploy"];
/// Folders that belong to the one above them, whose README speaks for them too.
const INNER_FOLDERS: &[&str] =
    &["src", "tests", "test", "benches", "examples", "fuzz_targets", "seeds", "migrations", "page"];
const CODE: &[&str] = &["rs", "py", "sh", "js", "mjs", "ts", "html", "css", "sql", "proto"];

/// The top level holds the areas of the code and what a reader looks for first.
pub(super) fn top_level(files: &[File]) -> Vec<Offence> {
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    let strangers = names.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    strangers.map(|name| Offence::of_path(name, "does not belong at the top level")).collect()
}

/// Every folder of code says what it is.
pub(super) fn readmes(files: &[File]) -> Vec<Offence> {
    let mut wanted = BTreeSet::new();
    for file in files {
        if CODE.contains(&file.extension()) || file.name() == "Cargo.toml" {
            let parts: Vec<&str> = file.folder().split('/').collect();
            let outer: Vec<&str> = parts.into_iter().take_while(|part| !INNER_FOLDERS.contains(part)).collect();
            for depth in 1..=outer.len() {
                wanted.insert(outer.iter().take(depth).copied().collect::<Vec<_>>().join("/"));
            }
        }
    }
    let present: BTreeSet<&str> = files.iter().filter(|file| file.name() == "README.md").map(File::folder).collect();
    let bare = wanted
        .into_iter()
        .filter(|folder| !folder.is_empty() && !folder.starts_with('.') && !present.contains(folder.as_str()));
    bare.map(|folder| Offence::of_path(folder, "a folder of code without a README.md")).collect()
}

/// Every Rust file begins with what it is for.
pub(super) fn module_docs(files: &[File]) -> Vec<Offence> {
    let has_docs = |file: &&File| {
        // Inner attributes and a licence may stand before.
        let mut lines = file.text.lines().map(str::trim);
        let first = lines.find(|line| {
            let is_doc = line.starts_with("//!") || line.starts_with("/*!");
            is_doc || !(line.is_empty() || line.starts_with("//") || line.starts_with("#!["))
        });
        first.is_some_and(|line| line.starts_with("//!") || line.starts_with("/*!"))
    };
    let bare = files.iter().filter(|file| file.is_rust() && !has_docs(file));
    bare.map(|file| Offence::new(file, 1, "no module documentation (`//!`) at the top")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    #[test]
    fn a_stranger_at_the_top_level_is_found() {
        let files = [file("engine/src/lib.rs", ""), file(".gitignore", ""), file("LICENSE", ""), file("docs/a.md", "")];
        check(top_level, &files, &["docs: does not belong at the top level"]);
    }

    #[test]
    fn a_folder_of_code_without_a_readme_is_found() {
        let files = [
            file("tools/README.md", ""),
            file("tools/one/README.md", ""),
            file("tools/one/src/deep/lib.rs", ""),
            file("tools/two/Cargo.toml", ""),
            file("deploy/notes.txt", ""),
            file(".ci/run.sh", ""),
        ];
        check(readmes, &files, &["tools/two: a folder of code without a README.md"]);
    }

    #[test]
    fn a_file_without_module_docs_is_found() {
        let files = [
            file("a.rs", "//! What it is for.\nfn a() {}"),
            file("b.rs", "#![no_main]\n//! What it is for.\n"),
            file("c.rs", "// A comment.\nuse x;\n//! Too late.\n"),
            file("d.rs", ""),
            file("e.md", "No Rust."),
        ];
        let bare = "no module documentation (`//!`) at the top";
        check(module_docs, &files, &[&format!("c.rs:1: {bare}"), &format!("d.rs:1: {bare}")]);
    }
}
