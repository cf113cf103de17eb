//! What is made once a machine and used by every start: `$XDG_CACHE_HOME/ringway/stack`.
//!
//! An entry's name holds the version of what it was made from. It appears by the rename of a finished whole, so that a
//! run that is killed leaves none. Of several runs that want it at once, one makes it, under a lock that the kernel
//! lets go with its process, and the others wait.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The entry of a name, made by `make` in an empty folder when it is not there yet.
pub(crate) fn entry(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = root()?;
    let place = parent.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let lock = File::create(parent.join(format!("{name}.lock")))?;
    lock.lock().with_context(|| format!("cannot lock {}", place.display()))?;
    if place.is_dir() {
        // Another run has made it meanwhile.
        return Ok(place);
    }
    let building = parent.join(format!("{name}.building"));
    if building.exists() {
        // One that was killed left it.
        fs::remove_dir_all(&building)?;
    }
    fs::create_dir(&building)?;
    if let Err(error) = make(&building) {
        // The error says what to do; what is left here goes at the next try at the latest.
        let _ = fs::remove_dir_all(&building);
        return Err(error);
    }
    fs::rename(&building, &place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place)
}

fn root() -> Result<PathBuf> {
    let cache = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    Ok(cache.join("ringway").join("stack"))
}

/// Copies a folder and all in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let place = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy(&item.path(), &place)?;
        } else {
            fs::copy(item.path(), &place).with_context(|| format!("cannot copy to {}", place.display()))?;
        }
    }
    Ok(())
}
