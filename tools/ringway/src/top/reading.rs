//! One answer of `/metrics`: Prometheus text, format 0.0.4.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use anyhow::{Context as _, Result};

/// The metric that every shard has.
const OF_EVERY_SHARD: &str = "ringway_connections";

/// One value with its labels.
#[derive(Debug, PartialEq)]
struct Sample {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

/// What the node said, and when.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    samples: HashMap<String, Vec<Sample>>,
}

impl Reading {
    /// Reads the text.
    ///
    /// # Errors
    /// A line that is neither empty, nor a comment, nor a sample.
    pub(super) fn parse(text: &str, at: Instant) -> Result<Self> {
        let mut samples: HashMap<String, Vec<Sample>> = HashMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (name, sample) = parse_sample(line).with_context(|| format!("the line {line:?} is no sample"))?;
            samples.entry(name.to_owned()).or_default().push(sample);
        }
        Ok(Self { at, samples })
    }

    /// A metric's value, added up over all samples that have these labels; `None` when there is none.
    pub(super) fn value(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.samples.get(metric)?.iter().filter(|sample| sample.has(labels)).map(|sample| sample.value);
        found.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// A histogram's cumulative counts by upper bound, added up likewise.
    pub(super) fn buckets(&self, metric: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
        let samples = self.samples.get(&format!("{metric}_bucket")).map(Vec::as_slice).unwrap_or_default();
        for sample in samples.iter().filter(|sample| sample.has(labels)) {
            if let Some(bound) = sample.label("le").and_then(|bound| bound.parse::<f64>().ok()) {
                // Bounds are not negative: their bits are in the order of their values.
                *counts.entry(bound.to_bits()).or_default() += sample.value;
            }
        }
        counts.into_iter().map(|(bound, count)| (f64::from_bits(bound), count)).collect()
    }

    /// Numbers of the shards, in order.
    pub(super) fn shards(&self) -> Vec<u16> {
        let samples = self.samples.get(OF_EVERY_SHARD).map(Vec::as_slice).unwrap_or_default();
        let shards: BTreeSet<u16> = samples.iter().filter_map(|sample| sample.label("shard")?.parse().ok()).collect();
        shards.into_iter().collect()
    }
}

/// `name{label="value",…} value`, perhaps with a time after it.
fn parse_sample(line: &str) -> Option<(&str, Sample)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then_some((name, Sample { labels, value }))
}

/// Labels up to the closing brace, and what follows it.
fn parse_labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = parse_quoted(rest)?;
        labels.push((name.to_owned(), value));
        text = rest;
    }
}

/// A value up to its closing quote, and what follows it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reading {
        Reading::parse(text, Instant::now()).unwrap()
    }

    #[test]
    fn values_are_added_up_over_the_labels_that_are_not_asked_for() {
        let reading = parse(
            "# HELP ringway_connections Open connections.\n# TYPE ringway_connections gauge\n\
             ringway_connections{shard=\"0\"} 3\nringway_connections{shard=\"10\"} 4\n\
             ringway_users_online 5\nringway_x{a=\"p \\\"q\\\" {r}, \\\\\",b=\"2\"} 1.5e3 1700000000\n",
        );
        assert_eq!(reading.value("ringway_connections", &[("shard", "10")]), Some(4.0));
        assert_eq!(reading.value("ringway_connections", &[]), Some(7.0));
        assert_eq!(reading.value("ringway_connections", &[("shard", "1")]), None);
        assert_eq!(reading.value("ringway_users_online", &[]), Some(5.0));
        assert_eq!(reading.value("ringway_x", &[("a", "p \"q\" {r}, \\"), ("b", "2")]), Some(1_500.0));
        assert_eq!(reading.value("ringway_y", &[]), None);
        assert_eq!(reading.shards(), [0, 10]);
    }

    #[test]
    fn buckets_are_added_up_and_ordered_by_their_bounds() {
        let reading = parse(
            "s_bucket{shard=\"0\",le=\"+Inf\"} 9\ns_bucket{shard=\"0\",le=\"10\"} 4\ns_bucket{shard=\"0\",le=\"9.5\"} 2\n\
             s_bucket{shard=\"1\",le=\"9.5\"} 1\ns_bucket{shard=\"1\",le=\"10\"} 1\ns_bucket{shard=\"1\",le=\"+Inf\"} 1\n",
        );
        assert_eq!(reading.buckets("s", &[]), [(9.5, 3.0), (10.0, 5.0), (f64::INFINITY, 10.0)]);
        assert_eq!(reading.buckets("s", &[("shard", "1")]), [(9.5, 1.0), (10.0, 1.0), (f64::INFINITY, 1.0)]);
        assert!(reading.buckets("t", &[]).is_empty());
    }

    #[test]
    fn what_is_no_metrics_is_named() {
        for text in ["<html>", "{\"error\":1}", "x{a=\"1} 2", "x{a=1} 2", "x y", " 1", "x"] {
            let error = Reading::parse(text, Instant::now()).unwrap_err().to_string();
            assert!(error.contains("is no sample"), "{text}: {error}");
        }
    }
}
