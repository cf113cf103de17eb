//! Two commits against each other: built side by side with frame pointers, alternated, compared.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::figures::{Figures, OURS};
use crate::flame::{self, Graph, View};
use crate::options::DiffOptions;
use crate::programs::{Programs, git_says, target};
use crate::ratio::Ratio;
use crate::rounds;
use crate::subject::Subject;

/// A checkout of a commit beside this one; dropping it removes it.
struct Worktree<'a> {
    tree: &'a Path,
    folder: PathBuf,
}

impl<'a> Worktree<'a> {
    fn of(tree: &'a Path, commit: &str) -> Result<Self> {
        // One folder a commit: cargo knows by the path what it has built already.
        let folder = target()?.join("perf-commits").join(commit);
        let this = Self { tree, folder };
        // Left by a run that was killed.
        let _ = this.remove();
        let folder = this.folder.display().to_string();
        git_says(tree, &["worktree", "add", "--quiet", "--force", "--detach", &folder, commit])?;
        Ok(this)
    }

    fn remove(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| format!("{}", self.folder.display()))?;
        }
        git_says(self.tree, &["worktree", "prune"]).map(drop)
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{} is left: {error:#}", self.folder.display());
        }
    }
}

/// Builds, alternates, and draws.
///
/// # Errors
/// There is no such commit, it does not build, or it cannot be measured.
pub(crate) fn run(options: &DiffOptions) -> Result<(Figures, Vec<Graph>)> {
    let programs = Programs::build(false)?;
    let mut subjects = Vec::new();
    let mut commits = Vec::new();
    for (which, name) in [("before", &options.before), ("after", &options.after)] {
        let commit = resolve(&programs.tree, name)?;
        let worktree = Worktree::of(&programs.tree, &commit)?;
        eprintln!("building {commit}");
        // Both in one target folder: what they have in common is built once. So the program is kept beside it.
        let built = Programs::framed_of(&worktree.folder, &target()?.join("perf-builds"))?;
        let kept = target()?.join("perf-builds").join(format!("ringway-{commit}"));
        fs::copy(&built, &kept).with_context(|| format!("{}", kept.display()))?;
        subjects.push(Subject::ringway(&format!("{OURS} {which}"), &kept)?);
        commits.push(commit);
    }
    let mut figures = rounds::empty(&options.run, commits.join(" → "));
    let about = |(subject, commit): (&Subject, &String)| (subject.name.clone(), format!("commit {commit}"));
    figures.subjects = subjects.iter().zip(&commits).map(about).collect();
    rounds::measure(&options.run, &programs, &subjects, &mut figures)?;
    let ratio = ratio(&figures).map(|ratio| ratio.ratio);
    figures.ratios = ratio.into_iter().map(|ratio| ("after over before".to_owned(), ratio)).collect();
    let mut graphs = Vec::new();
    for subject in &subjects {
        graphs.extend(rounds::graphs_of(&options.run, &programs, subject, View::OnCpu)?.into_iter().next());
    }
    if let [before, after] = graphs.as_slice() {
        graphs.insert(0, flame::difference(before, after)?);
    }
    Ok((figures, graphs))
}

/// How the second stands to the first.
pub(crate) fn ratio(figures: &Figures) -> Option<Ratio> {
    figures.ratio(&format!("{OURS} after"), &format!("{OURS} before"))
}

fn resolve(tree: &Path, name: &str) -> Result<String> {
    let spec = format!("{name}^{{commit}}");
    git_says(tree, &["rev-parse", "--verify", "--short=12", &spec]).with_context(|| format!("{name} is no commit here"))
}
