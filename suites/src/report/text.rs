//! The report for a reader: what failed and why, then a table of counts.

use std::{fmt::Write, path::Path};

use anstyle::{AnsiColor, Style as Ansi};
use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::{Graded, Report};
use crate::{
    run::{Outcome, Verdict, unclaimed_reason},
    suite::{SUITES, all_cases},
};

/// Which colours a verdict is shown in.
pub struct Style;

impl Style {
    /// The colour of a verdict.
    #[must_use]
    pub fn of(verdict: Verdict) -> Ansi {
        let colour = match verdict {
            Verdict::Pass => AnsiColor::Green,
            Verdict::Fail => AnsiColor::Red,
            Verdict::Error => AnsiColor::Magenta,
            Verdict::Known | Verdict::Unsupported => AnsiColor::Yellow,
        };
        Ansi::new().fg_color(Some(colour.into()))
    }

    /// A verdict's word.
    #[must_use]
    pub fn word(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Known => "known",
            Verdict::Unsupported => "unsupported",
            Verdict::Error => "ERROR",
        }
    }
}

/// How a case is tried again as it was.
#[derive(Clone, Debug, Default)]
pub struct Again<'a> {
    /// The user's own topology that all were tried on.
    pub topology: Option<&'a Path>,
    /// The options of `netproof run` that matter to it.
    pub options: String,
}

/// The report for a reader.
#[must_use]
pub fn text(report: &Report, again: &Again<'_>) -> String {
    let mut text = String::new();
    for graded in &report.implementations {
        for (first, others) in by_cause(graded) {
            failure(&mut text, graded, first, &others, again);
        }
        // Of several, the matrix tells more.
        if report.implementations.len() == 1 {
            known(&mut text, graded);
        }
        unsupported(&mut text, graded);
    }
    for graded in &report.implementations {
        let _ = writeln!(text, "{}", table(graded));
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// What did not pass; where several have one cause, the first of them and the others.
fn by_cause(graded: &Graded) -> Vec<(&Outcome, Vec<&Outcome>)> {
    let mut causes: Vec<(&Outcome, Vec<&Outcome>)> = Vec::new();
    for outcome in graded.cases.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Fail | Verdict::Error)) {
        // An error has no cause but itself: of a topology whose `up` failed, each case has the very same.
        let is_same = |first: &Outcome| {
            let same_cause = outcome.cause.is_some() && outcome.cause == first.cause;
            outcome.verdict == first.verdict && (same_cause || outcome.evidence == first.evidence)
        };
        match causes.iter_mut().find(|(first, _)| is_same(first)) {
            Some((_, others)) => others.push(outcome),
            None => causes.push((outcome, Vec::new())),
        }
    }
    causes
}

fn failure(text: &mut String, graded: &Graded, outcome: &Outcome, others: &[&Outcome], again: &Again<'_>) {
    let style = Style::of(outcome.verdict);
    let word = Style::word(outcome.verdict);
    let _ = writeln!(
        text,
        "{style}{word}{style:#} {} on {} ({}, {})",
        outcome.id, outcome.topology, outcome.level, graded.name
    );
    if let Some(case) = all_cases().find(|case| case.id == outcome.id) {
        let _ = writeln!(text, "  claim: {}\n  source: {}\n  failing: {}", case.claim, case.source, case.failing);
    }
    let place = match again.topology {
        None => format!("{}@{}", outcome.id, outcome.topology),
        Some(path) => format!("--topology {} {}", path.display(), outcome.id),
    };
    for (what, command, options) in [("again", "run", again.options.as_str()), ("look around", "shell", "")] {
        let _ = writeln!(text, "  {what}: netproof {command}{}{options} {place}", chosen(graded));
    }
    for line in capped(outcome.evidence.as_deref().unwrap_or_default()) {
        let _ = writeln!(text, "  {line}");
    }
    if !others.is_empty() {
        let _ = writeln!(text, "  the same cause, {} more (`--report DIR` keeps their evidence):", others.len());
    }
    for Outcome { id, topology, level, verdict, .. } in others {
        let (style, word) = (Style::of(*verdict), Style::word(*verdict));
        let _ = writeln!(text, "    {style}{word}{style:#} {id} on {topology} ({level})");
    }
    text.push('\n');
}

/// The option that chooses this implementation.
fn chosen(graded: &Graded) -> String {
    match &graded.driver {
        Some(path) => format!(" --driver {path}"),
        None if graded.name == "native" => String::new(),
        None => format!(" --implementation {}", graded.name),
    }
}

/// The lines of evidence: of very many, those at both ends. How it began and how it ended tell most.
fn capped(evidence: &str) -> Vec<String> {
    const EACH: usize = 100;
    let lines: Vec<&str> = evidence.lines().collect();
    if lines.len() <= 2 * EACH {
        return lines.into_iter().map(ToOwned::to_owned).collect();
    }
    let left_out = format!("... {} lines: report.json has them ...", lines.len() - 2 * EACH);
    let ends = [&lines[..EACH], &[&left_out], &lines[lines.len() - EACH..]];
    ends.concat().into_iter().map(ToOwned::to_owned).collect()
}

/// What is known to fail, one line for each reason.
fn known(text: &mut String, graded: &Graded) {
    const SHOWN: usize = 3;
    let style = Style::of(Verdict::Known);
    for (reason, cases) in by_reason(graded, Verdict::Known) {
        let shown = cases.iter().take(SHOWN).map(|outcome| format!("{}@{}", outcome.id, outcome.topology));
        let more = cases.len().saturating_sub(SHOWN);
        let more = (more > 0).then(|| format!("{more} more"));
        let cases = shown.chain(more).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "{style}known{style:#} {cases}: {reason}");
    }
}

/// What was not tried, one line for each reason.
fn unsupported(text: &mut String, graded: &Graded) {
    let style = Style::of(Verdict::Unsupported);
    let mut unclaimed: Vec<&str> = Vec::new();
    for (reason, cases) in by_reason(graded, Verdict::Unsupported) {
        if reason == unclaimed_reason(&graded.name, &cases[0].topology) {
            unclaimed.push(&cases[0].topology);
        } else {
            let _ = writeln!(text, "{style}unsupported{style:#} {} x {}: {reason}", cases.len(), graded.name);
        }
    }
    if !unclaimed.is_empty() {
        let (name, all) = (&graded.name, unclaimed.join(", "));
        let _ = writeln!(text, "{style}unsupported{style:#} {name} does not build {all}");
    }
}

/// The outcomes of a verdict, by their reasons.
fn by_reason(graded: &Graded, verdict: Verdict) -> Vec<(&str, Vec<&Outcome>)> {
    let mut reasons: Vec<(&str, Vec<&Outcome>)> = Vec::new();
    for outcome in graded.cases.iter().filter(|outcome| outcome.verdict == verdict) {
        let reason = outcome.reason.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, cases)) => cases.push(outcome),
            None => reasons.push((reason, vec![outcome])),
        }
    }
    reasons
}

fn table(graded: &Graded) -> Table {
    const COLUMNS: [Verdict; 5] = [Verdict::Pass, Verdict::Fail, Verdict::Known, Verdict::Unsupported, Verdict::Error];
    let mut table = Table::new();
    table.load_style(NOTHING);
    let heads = [format!("{} {}", graded.name, graded.version)].into_iter();
    table.set_header(heads.chain(["pass", "fail", "known", "unsupported", "error"].map(ToOwned::to_owned)));
    for suite in SUITES {
        if !graded.cases.iter().any(|outcome| outcome.suite() == suite.name) {
            continue;
        }
        let counts = COLUMNS.map(|verdict| match graded.count(suite.name, verdict) {
            0 => "-".to_owned(),
            some => some.to_string(),
        });
        table.add_row([suite.name.to_owned()].into_iter().chain(counts));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// One line: `150 pass, 2 fail, 3 unsupported in 12.3 s of labs`.
fn summary(report: &Report) -> String {
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Known, Verdict::Unsupported, Verdict::Error];
    let counts: Vec<String> = verdicts
        .into_iter()
        .filter(|verdict| report.count(*verdict) > 0 || *verdict == Verdict::Pass)
        .map(|verdict| format!("{} {}", report.count(verdict), Style::word(verdict).to_lowercase()))
        .collect();
    format!("{} (suite {}, Linux {})", counts.join(", "), report.suite.version, report.kernel)
}
