//! The page: one file that needs nothing else, with figures, plots, flame graphs, and how to repeat it.

use std::fmt::Write as _;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::diff;
use crate::figures::{Figures, finding};
use crate::flame::Graph;
use crate::named::{self, compared};
use crate::plot::{self, escape};
use crate::table::{COLUMNS, Column, cell, ratio};
use crate::targets::{self, Target};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;display:block;overflow-x:auto}\
th,td{border:1px solid #ccc;padding:.25rem .5rem;text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}\
svg{width:100%;height:auto;font-size:12px;margin:.5rem 0}code,pre{background:#f4f4f4;padding:.1rem .3rem}\
pre{padding:.6rem;overflow-x:auto}.no{color:#b00;font-weight:bold}.yes{color:#060}iframe{width:100%;height:640px;border:1px solid #ccc}";

/// Draws it.
///
/// # Errors
/// The figures are none that JSON has.
pub(crate) fn page(figures: &Figures, graphs: &[Graph]) -> Result<String> {
    Ok(document(&figures.title(), &section(figures, graphs, &[]), &serde_json::to_string(figures)?))
}

/// A document that needs nothing else, its figures inside.
pub(crate) fn document(title: &str, body: &str, json: &str) -> String {
    let (title, json) = (escape(title), json.replace("</", "<\\/"));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ringway: {title}</title><style>{STYLE}</style>\
         <h1>{title}</h1>{body}<script type=\"application/json\" id=\"figures\">{json}</script></html>"
    )
}

/// One run; `runs` are others of the same hour.
pub(crate) fn section(figures: &Figures, graphs: &[Graph], runs: &[Figures]) -> String {
    let mut html = String::new();
    let memory = figures.machine.memory_bytes >> 30;
    // Writing into a string cannot fail, here and below.
    let _ = write!(
        html,
        "<p>Commit <code>{}</code>; {}, {} cores, {memory} GiB; Linux {}. Server and load generator on a processor each; \
         everybody in turn, {} rounds. Repeat it:</p><pre>{}</pre>",
        escape(&figures.commit),
        escape(&figures.machine.cpu),
        figures.machine.cores,
        escape(&figures.kernel),
        figures.rounds.iter().map(|round| round.round).max().unwrap_or(0),
        escape(&figures.command),
    );
    difference(&mut html, figures);
    targets_table(&mut html, figures, runs);
    named(&mut html, figures);
    summary(&mut html, figures);
    let plots = [
        plot::strips(figures, "server CPU of a delivery, µs; a dot a round, hollow: does not count", |round| {
            round.cpu_us_per_delivery
        }),
        plot::latencies(figures),
        plot::strips(figures, "user memory of an idle connection, bytes", |round| round.bytes_per_connection),
    ];
    plots.into_iter().flatten().for_each(|plot| html.push_str(&plot));
    subjects(&mut html, figures);
    for graph in graphs {
        let _ = write!(
            html,
            "<h2>{}</h2><iframe title=\"flame graph\" src=\"data:image/svg+xml;base64,{}\"></iframe>",
            escape(&graph.title),
            // As a document of its own: its script draws it as wide as the frame.
            BASE64_STANDARD.encode(&graph.svg)
        );
    }
    rounds(&mut html, figures);
    html
}

fn difference(html: &mut String, figures: &Figures) {
    if let Some(ratio) = diff::ratio(figures) {
        let _ = write!(html, "<p>After is {}.</p>", compared(&ratio, Some("before"), figures.is_memory()));
    }
}

fn named(html: &mut String, figures: &Figures) {
    let sentences = named::of(figures);
    if !sentences.is_empty() {
        let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>", escape(sentence))).collect();
        let _ = write!(html, "<h2>What it shows</h2><ul>{items}</ul>");
    }
}

fn targets_table(html: &mut String, figures: &Figures, runs: &[Figures]) {
    let targets = targets::of(figures, runs);
    if targets.is_empty() {
        return;
    }
    html.push_str("<h2>Targets</h2><table><tr><th>wanted</th><th>seen</th><th></th></tr>");
    for target in targets {
        let (class, word) = (class(&target), target.word());
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
            escape(&target.wanted),
            escape(&target.seen)
        );
    }
    html.push_str("</table>");
}

/// How whether a target is met is drawn.
pub(crate) fn class(target: &Target) -> &'static str {
    match target.is_met {
        None => "",
        Some(true) => "yes",
        Some(false) => "no",
    }
}

fn summary(html: &mut String, figures: &Figures) {
    let names = figures.names();
    let told = |column: &&Column| names.iter().any(|name| figures.spread(name, column.of).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(told).collect();
    html.push_str("<h2>Figures</h2><p>Median (least–most) of the rounds that count.</p><table><tr><th></th><th>ours over theirs</th>");
    for column in &columns {
        let _ = write!(html, "<th>{}</th>", escape(column.head));
    }
    html.push_str("</tr>");
    for name in names {
        let ratio = ratio(figures, name).unwrap_or_default();
        let _ = write!(html, "<tr><td>{}</td><td>{ratio}</td>", escape(name));
        for column in &columns {
            let _ = write!(html, "<td>{}</td>", cell(figures, name, column).unwrap_or_default());
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

fn subjects(html: &mut String, figures: &Figures) {
    html.push_str("<h2>Who</h2><table><tr><th></th><th>what it is, and what is durable when it acknowledges</th></tr>");
    for (name, about) in &figures.subjects {
        let _ = write!(html, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(about));
    }
    for (name, why) in &figures.cannot {
        let _ = write!(html, "<tr><td>{}</td><td>cannot: {}</td></tr>", escape(name), escape(why));
    }
    html.push_str("</table>");
}

fn rounds(html: &mut String, figures: &Figures) {
    html.push_str("<h2>Every round</h2><table><tr><th></th><th>round</th><th>verdict</th>");
    for column in &COLUMNS {
        let _ = write!(html, "<th>{}</th>", escape(column.head));
    }
    html.push_str("</tr>");
    for round in &figures.rounds {
        let found = Some(finding(&round.report, &[])).filter(|found| !found.is_empty());
        let found: Vec<String> = found.into_iter().chain(named::stalls(round)).collect();
        let verdict =
            if found.is_empty() { round.verdict.clone() } else { format!("{}: {}", round.verdict, found.join("; ")) };
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td>",
            escape(&round.subject),
            round.round,
            escape(&verdict)
        );
        for column in &COLUMNS {
            let _ = write!(html, "<td>{}</td>", targets::figure((column.of)(round)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}
