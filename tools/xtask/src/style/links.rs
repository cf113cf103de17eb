//! Links of the Markdown files to other files of the tree.

use std::collections::BTreeSet;

use super::{File, Offence};

/// Every relative link leads to a file or a folder of the tree.
pub(super) fn resolve(files: &[File]) -> Vec<Offence> {
    let mut places: BTreeSet<&str> = BTreeSet::from([""]);
    for file in files {
        places.insert(&file.path);
        places.extend(file.path.match_indices('/').filter_map(|(at, _)| file.path.get(..at)));
    }
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.extension() == "md") {
        for (line, target) in links(file) {
            let found = destination(file.folder(), target).is_some_and(|place| places.contains(place.as_str()));
            if !found {
                offences.push(Offence::new(file, line, format!("a link to {target}, which is not there")));
            }
        }
    }
    offences
}

/// The targets of relative links, fenced and inline code left out.
fn links(file: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in file.numbered() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        // Between an even number of backticks, text is text.
        let mut in_code = fenced;
        for piece in line.split('`') {
            if !in_code {
                let targets = piece.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
                found.extend(targets.filter(|target| is_relative(target)).map(|target| (number, target)));
            }
            in_code = fenced || !in_code;
        }
    }
    found
}

fn is_relative(target: &str) -> bool {
    !target.is_empty() && !target.starts_with('#') && !target.contains("://") && !target.starts_with("mailto:")
}

/// Where a link from a folder leads; `None` above the root.
fn destination(folder: &str, target: &str) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    parts.retain(|part| !part.is_empty());
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text =
            "[a](src/a.rs#L10) [up](../README.md) [out](https://x/y) [here](#part)\n[`b`](src/b.rs) [gone](c/)\n";
        let files = [file("README.md", ""), file("engine/README.md", text), file("engine/src/a.rs", "")];
        let expected = [
            "engine/README.md:2: a link to c/, which is not there",
            "engine/README.md:2: a link to src/b.rs, which is not there",
        ];
        check(resolve, &files, &expected);
    }

    #[test]
    fn folders_can_be_linked_and_code_is_no_link() {
        let text = "[src](src) [src](./src/) `[x](gone)`\n```\n[x](gone)\n```\n";
        check(resolve, &[file("engine/README.md", text), file("engine/src/a.rs", "")], &[]);
    }

    #[test]
    fn a_link_out_of_the_tree_is_found() {
        let expected = "README.md:1: a link to ../a.md, which is not there";
        check(resolve, &[file("README.md", "[x](../a.md)"), file("a.md", "")], &[expected]);
    }
}
