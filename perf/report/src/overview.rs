//! All scenarios in one table: ours, the floors, each peer, and the targets, as Markdown and as a page.
//!
//! What a subject cannot do, and what does not count, is a word in its cell.

use std::fmt::Write as _;

use anyhow::Result;

use crate::all::Artefact;
use crate::figures::{Figures, OURS};
use crate::html;
use crate::plot::escape;
use crate::table;
use crate::targets::{self, First, Target, figure};

/// The floor that the ratio of a row is to.
const FLOOR: &str = "floor_uring";
/// Whole IM servers, measured in another run on a machine of this kind, 50 pairs, 128 B, stored before acknowledged:
/// messages a second at 1, 4 and 16 in flight a pair. They are in no package registry, so that no command repeats it.
const ELSEWHERE: [(&str, [u32; 3]); 5] = [
    ("WuKongIM 2.2.5", [2_181, 6_692, 13_619]),
    ("WuKongIM 3 beta", [2_233, 2_717, 2_392]),
    ("Tinode 0.25 + Postgres", [1_374, 1_130, 1_377]),
    ("Centrifugo 6.9 + Redis, AOF always", [12_709, 15_949, 15_359]),
    ("Centrifugo, memory, nothing durable", [35_764, 56_248, 83_558]),
];
/// Variants of `relay_durable` that those stand beside.
const ELSEWHERE_BESIDE: [&str; 3] = ["w1", "w4", "w16"];

/// A table: its head, and its rows.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// Text, and the targets below it.
struct Cell {
    text: String,
    targets: Vec<Target>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, targets: Vec::new() }
    }
}

/// A table for the capacity page, and what it was got from.
pub(crate) fn markdown(artefact: &Artefact) -> String {
    let mut text = format!("{}\n\n", origin(artefact));
    for table in [scenarios(artefact), elsewhere(artefact)] {
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(text, "| {} |\n|{}", table.head.join(" | "), "---|".repeat(table.head.len()));
        for row in &table.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.told()).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    for (name, why) in &artefact.failed {
        let _ = writeln!(text, "- {name} could not be measured: {why}");
    }
    text
}

/// One page with the table and, below, each scenario with its plots and rounds.
///
/// # Errors
/// The figures are none that JSON has.
pub(crate) fn page(artefact: &Artefact) -> Result<String> {
    let mut body = format!("<p>{}</p>", escape(&origin(artefact)));
    for (title, table) in [("", scenarios(artefact)), ("Beside: another run", elsewhere(artefact))] {
        let heads: String = table.head.iter().map(|head| format!("<th>{}</th>", escape(head))).collect();
        let _ = write!(body, "<h2>{title}</h2><table><tr>{heads}</tr>");
        for row in &table.rows {
            let cells: String = row.iter().map(|cell| format!("<td>{}</td>", cell.drawn())).collect();
            let _ = write!(body, "<tr>{cells}</tr>");
        }
        body.push_str("</table>");
    }
    for (name, why) in &artefact.failed {
        let _ = write!(body, "<p class=\"no\">{} could not be measured: {}</p>", escape(name), escape(why));
    }
    for figures in &artefact.runs {
        let section = html::section(figures, &[], &artefact.runs);
        let _ = write!(body, "<hr><h1>{}</h1>{section}", escape(&figures.title()));
    }
    Ok(html::document("every scenario", &body, &serde_json::to_string(artefact)?))
}

impl Cell {
    fn told(&self) -> String {
        let target = |target: &Target| format!("{}: {}, {}", target.wanted, target.seen, target.word());
        let text = Some(self.text.clone()).filter(|text| !text.is_empty());
        text.into_iter().chain(self.targets.iter().map(target)).collect::<Vec<_>>().join("<br>")
    }

    fn drawn(&self) -> String {
        let target = |target: &Target| {
            let (class, word) = (html::class(target), target.word());
            format!("{}: {}, <span class=\"{class}\">{word}</span>", escape(&target.wanted), escape(&target.seen))
        };
        let text = Some(escape(&self.text)).filter(|text| !text.is_empty());
        text.into_iter().chain(self.targets.iter().map(target)).collect::<Vec<_>>().join("<br>")
    }
}

fn origin(artefact: &Artefact) -> String {
    let place = artefact.runs.first().map_or_else(String::new, |figures| {
        format!("{}, {} cores, Linux {}; ", figures.machine.cpu, figures.machine.cores, figures.kernel)
    });
    format!(
        "Commit {}; {place}median of the rounds that count, in brackets ours over theirs in cost (server CPU a delivery, or memory). `{}`",
        artefact.commit, artefact.command
    )
}

/// A row a scenario and variant.
fn scenarios(artefact: &Artefact) -> Table {
    let mut others: Vec<String> = Vec::new();
    for figures in &artefact.runs {
        others.extend(
            figures.subjects.keys().filter(|name| *name != OURS && !others.contains(name)).cloned().collect::<Vec<_>>(),
        );
    }
    // The floors first, as everywhere.
    others.sort_by_key(|name| (!name.starts_with("floor_"), name.clone()));
    let fixed = ["scenario", "figure", OURS].map(str::to_owned);
    let end = [format!("over {FLOOR}, 95 %"), "targets".to_owned()];
    let head = fixed.into_iter().chain(others.clone()).chain(end).collect();
    let rows = artefact.runs.iter().map(|figures| {
        let first = First::of(&figures.scenario, figures.variant.as_deref());
        let mut row: Vec<Cell> = vec![figures.title().into(), first.head(figures).to_owned().into()];
        row.push(shown(figures, OURS, first).into());
        row.extend(others.iter().map(|name| Cell::from(shown(figures, name, first))));
        row.push(table::ratio(figures, FLOOR).unwrap_or_else(|| "–".to_owned()).into());
        let targets = targets::of(figures, &artefact.runs);
        let text = if targets.is_empty() { "none stated".to_owned() } else { String::new() };
        row.push(Cell { text, targets });
        row
    });
    Table { head, rows: rows.collect() }
}

/// A subject's figure, or the word that says why there is none.
fn shown(figures: &Figures, name: &str, first: First) -> String {
    if figures.cannot.contains_key(name) {
        return "cannot".to_owned();
    }
    if let Some(spread) = figures.spread(name, |round| first.in_round(round)) {
        let ratio = figures.ratios.get(name).map_or_else(String::new, |ratio| format!(" ({ratio:.2})"));
        return figure(Some(spread.median)) + &ratio;
    }
    let verdicts: Vec<&str> = figures.rounds_of(name).map(|round| round.verdict.as_str()).collect();
    let word = if verdicts.is_empty() {
        "not measured"
    } else if verdicts.contains(&"wrong") {
        "wrong"
    } else if verdicts.contains(&"void") {
        "void"
    } else {
        "–"
    };
    word.to_owned()
}

/// Others, from another run, with ours of this one.
fn elsewhere(artefact: &Artefact) -> Table {
    let heads = ELSEWHERE_BESIDE.map(|variant| format!("relay_durable {variant}, messages/s"));
    let head = ["whole servers, another run".to_owned()].into_iter().chain(heads).collect();
    let others = ELSEWHERE.iter().map(|(name, per_s)| {
        let cells = per_s.iter().map(|per_s| Cell::from(figure(Some(f64::from(*per_s)))));
        [Cell::from(format!("{name} (another run)"))].into_iter().chain(cells).collect()
    });
    let ours = ELSEWHERE_BESIDE.map(|variant| {
        let is_it = |run: &&Figures| run.scenario == "relay_durable" && run.variant.as_deref() == Some(variant);
        let run = artefact.runs.iter().find(is_it);
        let shown = |run| shown(run, OURS, First::of("relay_durable", Some(variant)));
        Cell::from(run.map_or_else(|| "not measured".to_owned(), shown))
    });
    let ours = [Cell::from(format!("{OURS}, this run"))].into_iter().chain(ours).collect();
    Table { head, rows: others.chain([ours]).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::figures::sample;

    fn artefact() -> Artefact {
        let report = |verdict: &str, cpu: f64| json!({"verdict": verdict, "server": {"cpu_us_per_delivery": cpu}, "delivered_per_s": 26_000.0});
        let mut fan = sample(&[
            ("ringway", report("good", 6.0)),
            ("floor_uring", report("good", 5.0)),
            ("nats", report("void", 1.0)),
            ("bun", report("wrong", 1.0)),
        ]);
        fan.cannot.insert("ejabberd".into(), "no rooms".into());
        for name in ["ringway", "floor_uring", "nats", "bun", "ejabberd", "nchan"] {
            fan.subjects.insert(name.into(), String::new());
        }
        fan.compare();
        let fan = Figures { scenario: "room_fan".into(), variant: Some("1000".into()), ..fan };
        let durable = sample(&[("ringway", report("good", 30.0))]);
        let durable = Figures { scenario: "relay_durable".into(), variant: Some("w1".into()), ..durable };
        let mut artefact = Artefact { commit: "abc".into(), runs: vec![fan, durable], ..Artefact::default() };
        artefact.failed.insert("idle_memory 15000".into(), "no <descriptors>".into());
        artefact
    }

    #[test]
    fn a_row_has_a_figure_or_a_word_for_everybody_and_its_targets() {
        let text = markdown(&artefact());
        let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert_eq!(
            row("| scenario"),
            "| scenario | figure | ringway | floor_uring | bun | ejabberd | nats | nchan | over floor_uring, 95 % | targets |"
        );
        assert_eq!(
            row("| room_fan"),
            "| room_fan 1000 | CPU µs/delivery | 6.00 | 5.00 (1.20) | wrong | cannot | void | not measured | 1.20 | \
             at most 1.10 of floor_uring: 1.20, NOT met |"
        );
        assert!(row("| relay_durable").ends_with("| at least 25000 deliveries/s: 26000, met |"));
        assert_eq!(row("| WuKongIM 2.2.5"), "| WuKongIM 2.2.5 (another run) | 2181 | 6692 | 13619 |");
        assert_eq!(row("| ringway, this run"), "| ringway, this run | 26000 | not measured | not measured |");
        assert_eq!(row("- idle_memory"), "- idle_memory 15000 could not be measured: no <descriptors>");
    }

    #[test]
    fn the_page_holds_the_table_each_scenario_and_the_figures() {
        let page = page(&artefact()).unwrap();
        for part in [
            "<span class=\"no\">NOT met</span>",
            "<h1>room_fan 1000</h1>",
            "no &lt;descriptors&gt;",
            "cannot: no rooms",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let json = page.split_once("id=\"figures\">").unwrap().1.split_once("</script>").unwrap().0;
        assert_eq!(serde_json::from_str::<Artefact>(&json.replace("<\\/", "</")).unwrap().runs.len(), 2);
    }
}
