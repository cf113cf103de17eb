//! Plots as SVG: what a round was, not only its median.

use std::fmt::Write as _;

use crate::figures::{Figures, Round};
use crate::targets::figure;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 26.0;
const TOP: f64 = 24.0;

/// What is drawn of a round.
type Figure = fn(&Round) -> Option<f64>;

/// Points of a latency curve: the share of messages above, as nines, and the figure.
const QUANTILES: [(&str, Figure); 5] = [
    ("p50", |round| round.p50_us),
    ("p90", |round| round.p90_us),
    ("p99", |round| round.p99_us),
    ("p99.9", |round| round.p999_us),
    ("max", |round| round.max_us),
];
/// Told apart by everybody (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A row a subject, a dot a round, a bar at the median; rounds that do not count are hollow.
pub(crate) fn strips(figures: &Figures, title: &str, of: Figure) -> Option<String> {
    let names: Vec<&str> = figures.names();
    let most = figures.rounds.iter().filter_map(of).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let x = |value: f64| LEFT + value / most * (WIDTH - LEFT - RIGHT);
    let mut svg = open(TOP + ROW * names.len() as f64 + 10.0, title);
    for (row, name) in names.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        // Writing into a string cannot fail.
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 10.0, y + 4.0, escape(name));
        let _ = write!(svg, r##"<line x1="{LEFT}" x2="{:.1}" y1="{y}" y2="{y}" stroke="#ddd"/>"##, WIDTH - RIGHT);
        for round in figures.rounds.iter().filter(|round| round.subject == *name) {
            let Some(value) = of(round) else { continue };
            let fill = if round.is_good() { colour(row) } else { "none" };
            let _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{y}" r="4" fill="{fill}" fill-opacity=".6" stroke="{}"><title>{} round {}: {}</title></circle>"#,
                x(value),
                colour(row),
                escape(name),
                round.round,
                figure(Some(value)),
            );
        }
        if let Some(spread) = figures.spread(name, of) {
            let (at, up, down) = (x(spread.median), y - 9.0, y + 9.0);
            let _ = write!(
                svg,
                r#"<line x1="{at:.1}" x2="{at:.1}" y1="{up}" y2="{down}" stroke="{}" stroke-width="3"/>"#,
                colour(row)
            );
            let _ = write!(
                svg,
                r#"<text x="{:.1}" y="{:.1}">{}</text>"#,
                WIDTH - RIGHT + 8.0,
                y + 4.0,
                figure(Some(spread.median))
            );
        }
    }
    Some(svg + "</svg>")
}

/// Latency by quantile, a line a subject over the medians of its rounds, on a logarithmic scale.
pub(crate) fn latencies(figures: &Figures) -> Option<String> {
    let names = figures.names();
    let of = |name: &str| -> Vec<f64> {
        let median = |(_, of): &(&str, Figure)| Some(figures.spread(name, of)?.median);
        QUANTILES.iter().filter_map(median).collect()
    };
    let lines: Vec<(&str, Vec<f64>)> = names.into_iter().map(|name| (name, of(name))).collect();
    let all = || lines.iter().flat_map(|(_, values)| values).copied().filter(|value| *value > 0.0);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if most <= 0.0 {
        return None;
    }
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let height = 240.0;
    let y = |us: f64| TOP + (high - us.max(1e-3).log10()) / (high - low) * height;
    let x = |at: usize| LEFT + at as f64 / (QUANTILES.len() - 1) as f64 * (WIDTH - LEFT - RIGHT - 60.0);
    let mut svg = open(TOP + height + 34.0, "latency in ms from the intended time of sending, by quantile");
    for decade in low as i32..=high as i32 {
        let (at, label) = (y(10_f64.powi(decade)), 10_f64.powi(decade - 3));
        let _ = write!(
            svg,
            r##"<line x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}" stroke="#ddd"/>"##,
            x(QUANTILES.len() - 1)
        );
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#, LEFT - 10.0, at + 4.0);
    }
    for (at, (name, _)) in QUANTILES.iter().enumerate() {
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#, x(at), TOP + height + 20.0);
    }
    for (at, (name, values)) in lines.iter().enumerate() {
        let points: Vec<String> =
            values.iter().enumerate().map(|(at, us)| format!("{:.1},{:.1}", x(at), y(*us))).collect();
        let colour = colour(at);
        let _ =
            write!(svg, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, points.join(" "));
        if let Some(last) = values.last() {
            let right = x(values.len() - 1) + 8.0;
            let _ = write!(
                svg,
                r#"<text x="{right:.1}" y="{:.1}" fill="{colour}">{}</text>"#,
                y(*last) + 4.0,
                escape(name)
            );
        }
    }
    Some(svg + "</svg>")
}

fn open(height: f64, title: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{0}"><text x="0" y="14" font-weight="bold">{0}</text>"#,
        escape(title)
    )
}

fn colour(at: usize) -> &'static str {
    COLOURS.get(at % COLOURS.len()).copied().unwrap_or("#000000")
}

/// Text in XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
