//! What rounds show, in words: what was lost, what stood still, who is slower, and how sure that is.

use crate::figures::{Figures, OURS, Round, finding};
use crate::ratio::Ratio;

/// Every sentence about a run.
pub(crate) fn of(figures: &Figures) -> Vec<String> {
    let mut sentences = Vec::new();
    for name in figures.names() {
        let named = [wrong(figures, name), stalled(figures, name)];
        sentences.extend(named.into_iter().flatten().map(|words| format!("{name} {words}")));
    }
    for (name, ratio) in &figures.confidence {
        sentences.push(format!("{OURS} is {}", compared(ratio, Some(name), figures.is_memory())));
    }
    sentences
}

/// What went wrong in the rounds of a subject.
pub(crate) fn wrong(figures: &Figures, subject: &str) -> Option<String> {
    let (mut lost, mut due, mut others) = (0, 0, Vec::new());
    let rounds: Vec<&Round> = figures.rounds_of(subject).collect();
    let bad = || rounds.iter().filter(|round| round.verdict == "wrong");
    for round in bad() {
        lost += round.lost;
        due += round.due;
        let other = finding(&round.report, &["lost"]);
        if !other.is_empty() && !others.contains(&other) {
            others.push(other);
        }
    }
    let count = bad().count();
    if count == 0 {
        return None;
    }
    let lost = (lost > 0).then(|| format!("lost {} of {}", thousands(lost), thousands(due)));
    let all: Vec<String> = lost.into_iter().chain(others).collect();
    let what = if all.is_empty() { "went wrong".to_owned() } else { all.join(", ") };
    Some(format!("{what}, in {count} of {} rounds", rounds.len()))
}

/// Where a subject stood still.
pub(crate) fn stalled(figures: &Figures, subject: &str) -> Option<String> {
    let rounds: Vec<&Round> = figures.rounds_of(subject).collect();
    let count = rounds.iter().filter(|round| !round.stalls.is_empty()).count();
    let all = rounds.iter().flat_map(|round| round.stalls.iter().map(|stall| (round.round, stall)));
    let (round, longest) = all.max_by(|(_, one), (_, other)| one.ms.total_cmp(&other.ms))?;
    let (ms, at_s, rounds) = (longest.ms, longest.at_s, rounds.len());
    Some(format!("stalled in {count} of {rounds} rounds, longest for {ms:.0} ms at {at_s:.1} s of round {round}"))
}

/// What stood still in one round.
pub(crate) fn stalls(round: &Round) -> Option<String> {
    let longest = round.stalls.iter().max_by(|one, other| one.ms.total_cmp(&other.ms))?;
    let count = match round.stalls.len() {
        1 => "one stall".to_owned(),
        several => format!("{several} stalls, the longest"),
    };
    Some(format!("{count} of {:.0} ms at {:.1} s", longest.ms, longest.at_s))
}

/// How much slower, or, of memory, how much larger.
pub(crate) fn compared(ratio: &Ratio, than: Option<&str>, is_memory: bool) -> String {
    let (more, less) = if is_memory { ("larger", "smaller") } else { ("slower", "quicker") };
    let (word, sign) = if ratio.ratio >= 1.0 { (more, 1.0) } else { (less, -1.0) };
    let percent = |ratio: f64| (ratio - 1.0) * 100.0 * sign;
    let than = than.map_or_else(String::new, |than| format!(" than {than}"));
    let (low, high) = (percent(ratio.low).min(percent(ratio.high)), percent(ratio.low).max(percent(ratio.high)));
    let by = percent(ratio.ratio);
    if !ratio.is_known() {
        return format!("{word}{than} by {by:.1} % in too few rounds to be sure");
    }
    let unsure = if ratio.differs() { "" } else { ", so no difference can be told" };
    format!("{word}{than} by {by:.1} % (95 %: {low:.1} to {high:.1}{unsure})")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::figures::sample;

    fn report(cpu: f64, lost: u64, late_ms: u64) -> Value {
        json!({
            "verdict": if lost > 0 { "wrong" } else { "good" }, "delivered": 9, "due": 60_000,
            "findings": {"lost": lost, "doubled": 0}, "server": {"cpu_us_per_delivery": cpu},
            "intervals": {"seconds": 0.1, "deliveries": [1, 1, 1, 1, 1], "sum_us": [1, 1, late_ms * 1000, 1, 1],
                "max_us": [1, 1, late_ms * 1000, 1, 1], "lag_max_us": [0, 0, 0, 0, 0]},
        })
    }

    #[test]
    fn what_is_lost_slow_and_stalled_is_said() {
        let mut figures = sample(&[
            ("ringway", report(11.0, 0, 1)),
            ("floor", report(10.0, 0, 201)),
            ("ringway", report(11.2, 0, 1)),
            ("floor", report(10.1, 0, 1)),
            ("ringway", report(10.9, 0, 1)),
            ("floor", report(9.9, 0, 1)),
            ("floor", report(1.0, 6, 1)),
            ("floor", report(1.0, 6, 1)),
        ]);
        figures.compare();
        let expected = [
            "floor lost 12 of 120,000, in 2 of 5 rounds",
            "floor stalled in 1 of 5 rounds, longest for 201 ms at 0.2 s of round 1",
            "ringway is slower than floor by 10.0 % (95 %: 7.9 to 13.1)",
        ];
        assert_eq!(of(&figures), expected);
    }

    #[test]
    fn what_cannot_be_told_is_not_claimed() {
        let ratio = Ratio::of(&[10.0, 10.5, 9.5], &[10.1, 10.3, 9.4]).unwrap();
        assert!(compared(&ratio, None, true).ends_with("so no difference can be told)"));
        let ratio = Ratio::of(&[10.0], &[9.0]).unwrap();
        assert_eq!(compared(&ratio, None, false), "quicker by 10.0 % in too few rounds to be sure");
    }
}
