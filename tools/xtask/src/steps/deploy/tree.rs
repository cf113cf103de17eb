//! The files that the checks read: what lies below `deploy`, and the code that has metrics.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Code that tells Prometheus something.
const CODE: [&str; 4] = ["shards", "persist", "tools/ringway", "tools/service"];
/// Folders that are no part of the tree, or hold no names that a process tells.
const LEFT_OUT: [&str; 6] = ["target", "node_modules", "secrets", "tests", "examples", "__pycache__"];

/// A file of text.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the root, with `/` between the parts.
    pub(super) path: String,
    pub(super) text: String,
}

/// What is looked at.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Below `deploy`.
    pub(super) deploy: Vec<File>,
    /// Rust of the processes, without its tests.
    pub(super) code: Vec<File>,
}

impl Tree {
    /// Reads the tree at `root`.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        read(root, "deploy", &mut tree.deploy)?;
        for folder in CODE {
            read(root, folder, &mut tree.code)?;
        }
        tree.code.retain(|file| file.path.ends_with(".rs"));
        for file in &mut tree.code {
            if let Some(tests) = file.text.find("#[cfg(test)]\nmod tests") {
                file.text.truncate(tests);
            }
        }
        Ok(tree)
    }
}

/// Adds the texts below a folder, in the order of their names. What is no text is left out.
fn read(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    let place = root.join(folder);
    let mut entries: Vec<_> = fs::read_dir(&place)
        .and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>())
        .with_context(|| format!("cannot read {}", place.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) {
                read(root, &path, files)?;
            }
        } else if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
            files.push(File { path, text });
        }
    }
    Ok(())
}
