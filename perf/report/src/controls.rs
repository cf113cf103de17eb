//! Controls of the suite itself: the epoll floor as it is, once more as it is, and spoilt in three known ways.
//!
//! A suite that misses a fault of this size, or finds one where there is none, is to be doubted.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::figures::{Figures, Round};
use crate::named;
use crate::options::RunOptions;
use crate::programs::{Programs, commit};
use crate::rounds;
use crate::subject::{Script, Subject};

/// What all others are compared with.
const BASE: &str = "floor_epoll";
const NONE: &str = "control_none";
/// Burns a tenth of what it spends.
const SLOW: &str = "control_slow";
/// Drops one delivery in 10,000.
const DROP: &str = "control_drop";
/// Stalls once for 200 ms.
const STALL: &str = "control_stall";
/// Rounds of the two whose fault is in every round.
const PLAIN_ROUNDS: usize = 3;
/// As short as its stall may look: whoever waited longest may have come after it began.
const STALL_MS_MIN: f64 = 150.0;

/// Measures them in turn.
///
/// # Errors
/// One does not start or cannot be measured.
pub(crate) fn run(options: &RunOptions) -> Result<Figures> {
    let programs = Programs::of(options)?;
    let script = Script::of(&programs);
    let subjects = |names: &[&str]| names.iter().map(|name| Subject::peer(name, &script)).collect::<Result<Vec<_>>>();
    let (compared, plain) = (subjects(&[BASE, NONE, SLOW])?, subjects(&[DROP, STALL])?);
    let mut figures = rounds::empty(options, commit(&programs.tree)?);
    let about = compared.iter().chain(&plain).map(|subject| (subject.name.clone(), subject.about.clone()));
    figures.subjects = about.collect();
    rounds::measure(options, &programs, &compared, &mut figures)?;
    let fewer = RunOptions { rounds: options.rounds.min(PLAIN_ROUNDS), ..options.clone() };
    rounds::measure(&fewer, &programs, &plain, &mut figures)?;
    Ok(figures)
}

/// Says of each what is seen.
///
/// # Errors
/// A fault is not seen, or one that is not there is.
pub(crate) fn tell(figures: &Figures) -> Result<()> {
    let judgements = judge(figures);
    println!();
    for (name, judgement) in &judgements {
        match judgement {
            Ok(seen) => println!("{name}: {seen}"),
            Err(missed) => println!("{name}: WRONG: {missed}"),
        }
    }
    let wrong: Vec<&str> = judgements.iter().filter(|(_, is)| is.is_err()).map(|(name, _)| *name).collect();
    ensure!(wrong.is_empty(), "not as it should be: {}", wrong.join(", "));
    Ok(())
}

/// Of each what is seen, or what is wrong about it.
fn judge(figures: &Figures) -> BTreeMap<&'static str, Result<String, String>> {
    BTreeMap::from([
        (BASE, clean(figures, BASE)),
        (NONE, clean(figures, NONE).and_then(|_| not_slow(figures))),
        (SLOW, clean(figures, SLOW).and_then(|_| slow(figures))),
        (DROP, drops(figures)),
        (STALL, stalls(figures)),
    ])
}

/// Nothing is lost; a stall in less than half of the rounds is the machine's.
fn clean(figures: &Figures, name: &str) -> Result<String, String> {
    if let Some(wrong) = named::wrong(figures, name) {
        return Err(wrong);
    }
    let rounds = figures.rounds_of(name).count();
    let stalled = figures.rounds_of(name).filter(|round| !round.stalls.is_empty()).count();
    match named::stalled(figures, name) {
        Some(stalls) if stalled * 2 >= rounds => Err(stalls),
        _ => Ok("clean".to_owned()),
    }
}

fn not_slow(figures: &Figures) -> Result<String, String> {
    let ratio = figures.ratio(NONE, BASE).ok_or("no round counts")?;
    let words = named::compared(&ratio, Some(BASE), false);
    if ratio.differs() && ratio.ratio > 1.0 { Err(words) } else { Ok(format!("clean: {words}")) }
}

fn slow(figures: &Figures) -> Result<String, String> {
    let ratio = figures.ratio(SLOW, BASE).ok_or("no round counts")?;
    let words = named::compared(&ratio, Some(BASE), false);
    if ratio.differs() && ratio.ratio > 1.0 { Ok(format!("seen: {words}")) } else { Err(words) }
}

fn drops(figures: &Figures) -> Result<String, String> {
    let is_seen = |round: &Round| round.verdict == "wrong" && round.lost > 0;
    let words = named::wrong(figures, DROP).unwrap_or_else(|| "nothing is lost".to_owned());
    if figures.rounds_of(DROP).all(is_seen) { Ok(format!("seen: {words}")) } else { Err(words) }
}

fn stalls(figures: &Figures) -> Result<String, String> {
    if let Some(wrong) = named::wrong(figures, STALL) {
        return Err(wrong);
    }
    let is_seen = |round: &Round| round.stalls.iter().any(|stall| stall.ms >= STALL_MS_MIN);
    let words = named::stalled(figures, STALL).unwrap_or_else(|| "nothing stood still".to_owned());
    if figures.rounds_of(STALL).all(is_seen) { Ok(format!("seen: {words}")) } else { Err(words) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::figures::sample;

    fn report(cpu: f64, lost: u64, late_us: u64) -> Value {
        json!({
            "verdict": if lost > 0 { "wrong" } else { "good" }, "due": 60_000, "findings": {"lost": lost},
            "server": {"cpu_us_per_delivery": cpu},
            "intervals": {"seconds": 0.1, "deliveries": [1, 1, 1], "sum_us": [9, late_us, 9], "max_us": [9, late_us, 9],
                "lag_max_us": [0, 0, 0]},
        })
    }

    /// Four rounds of each; `slow` and `none` are their costs over the floor's.
    fn check(none: f64, slow: f64, lost: u64, late_us: u64, expected: [bool; 5]) {
        let mut rounds = Vec::new();
        for noise in [0.98, 1.0, 1.01, 1.02] {
            rounds.push((BASE, report(noise, 0, 9)));
            rounds.push((NONE, report(noise * none, 0, 9)));
            rounds.push((SLOW, report(noise * slow, 0, 9)));
            rounds.push((DROP, report(noise, lost, 9)));
            rounds.push((STALL, report(noise, 0, late_us)));
        }
        let figures = sample(&rounds);
        let judged = judge(&figures);
        assert_eq!([BASE, NONE, SLOW, DROP, STALL].map(|name| judged[name].is_ok()), expected, "{judged:?}");
    }

    #[test]
    fn each_fault_has_to_be_seen_and_none_where_there_is_none() {
        check(1.0, 1.1, 6, 201_000, [true; 5]);
        check(1.1, 1.1, 6, 201_000, [true, false, true, true, true]);
        check(1.0, 1.0, 6, 201_000, [true, true, false, true, true]);
        check(1.0, 1.1, 0, 201_000, [true, true, true, false, true]);
        check(1.0, 1.1, 6, 40_000, [true, true, true, true, false]);
    }
}
