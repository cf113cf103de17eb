//! Words that do not belong into the tree: work left open, hosts of package registries, paths of one machine.
//!
//! The words themselves are put together from halves here, so that this file keeps its own rules.

use super::source::has_word;
use super::{File, Offence};

/// Work left open is an issue, not a comment. Matched as words, so that longer ones pass.
const UNFINISHED_WORDS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("HA", "CK"), concat!("for ", "now")];
/// The same in code, matched anywhere.
const UNFINISHED_CODE: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];
/// Packages are named by their names; where they come from is each machine's configuration.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("maven", ".org"),
    concat!("maven.apache", ".org"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
];
/// Folders that exist on one machine and mean nothing on another.
const MACHINE_FOLDERS: &[&str] = &[concat!("/ro", "ot"), concat!("/wo", "rk"), concat!("/ho", "me/")];
/// Written by a tool that names its source.
const GENERATED: &[&str] = &["Cargo.lock", "package-lock.json"];

/// Nothing is left open in the text.
pub(super) fn unfinished(files: &[File]) -> Vec<Offence> {
    find(files, |line| {
        // A Rust loop over times reads the same as the phrase.
        let line = &line.replace(concat!("for ", "now in "), "");
        let word = UNFINISHED_WORDS.iter().find(|word| has_word(line, word));
        word.or_else(|| UNFINISHED_CODE.iter().find(|code| line.contains(*code)))
            .map(|found| format!("left open: {found}"))
    })
}

/// No host of a package registry is named.
pub(super) fn hosts(files: &[File]) -> Vec<Offence> {
    find(files, |line| {
        HOSTS.iter().find(|host| line.contains(*host)).map(|host| format!("names a registry's host, {host}"))
    })
}

/// No path of one machine is named.
pub(super) fn machine_paths(files: &[File]) -> Vec<Offence> {
    find(files, |line| {
        let folder = MACHINE_FOLDERS.iter().find(|folder| has_folder(line, folder));
        folder.map(|folder| format!("names a path of one machine, {folder}"))
    })
}

fn find(files: &[File], offends: impl Fn(&str) -> Option<String>) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| !GENERATED.contains(&file.name())) {
        for (number, line) in file.numbered() {
            offences.extend(offends(line).map(|what| Offence::new(file, number, what)));
        }
    }
    offences
}

/// Whether an absolute path begins with the folder: `src` + folder, or a closing tag, is another thing.
fn has_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + folder.len()..).and_then(|text| text.chars().next());
        let begins = before.is_none_or(|character| character.is_whitespace() || "\"'`(=:[".contains(character));
        let ends = folder.ends_with('/')
            || after.is_none_or(|character| !character.is_alphanumeric() && !"-_.".contains(character));
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    #[test]
    fn work_left_open_is_found() {
        let text = format!("// {}: later\n// good {} nowhere\n{}\n", UNFINISHED_WORDS[0], "for", UNFINISHED_CODE[2]);
        let expected = [
            format!("a.rs:1: left open: {}", UNFINISHED_WORDS[0]),
            format!("a.rs:3: left open: {}", UNFINISHED_CODE[2]),
        ];
        check(unfinished, &[file("a.rs", &text)], &[&expected[0], &expected[1]]);
        check(unfinished, &[file("a.rs", &format!("{} in times {{\n", UNFINISHED_WORDS[3]))], &[]);
        let longer = format!("{}S {}ER {}here\n", UNFINISHED_WORDS[0], UNFINISHED_WORDS[2], UNFINISHED_WORDS[3]);
        check(unfinished, &[file("a.md", &longer)], &[]);
    }

    #[test]
    fn a_registrys_host_is_found() {
        let text = format!("see https://{}/x\n", HOSTS[0]);
        let expected = format!("a.md:1: names a registry's host, {}", HOSTS[0]);
        check(hosts, &[file("a.md", &text), file("Cargo.lock", &text)], &[&expected]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let work = MACHINE_FOLDERS[1];
        let files = [file("a.sh", &format!("cd {work}/main\n")), file("b.md", &format!("a`{work}` b\n"))];
        let what = format!("names a path of one machine, {work}");
        check(machine_paths, &files, &[&format!("a.sh:1: {what}"), &format!("b.md:1: {what}")]);
    }

    #[test]
    fn what_only_looks_like_such_a_path_passes() {
        let work = MACHINE_FOLDERS[1];
        let text = format!("src{work}.rs\n a{work}s/b\n<{work}>\n{work}er\n");
        check(machine_paths, &[file("a.rs", &text)], &[]);
    }
}
