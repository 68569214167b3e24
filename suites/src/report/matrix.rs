//! Implementations against suites, as a page of Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::{Graded, Report};
use crate::{
    run::{Outcome, Verdict},
    suite::{SUITES, all_cases},
};

/// The page: a table of counts, then what each implementation fails, and what that means for who uses it.
#[must_use]
pub fn matrix(report: &Report) -> String {
    let mut text = format!(
        "# The matrix\n\nHow implementations do on suite {} (Linux {}). Generated from a report; never written by hand:\n\n\
         ```sh\nnetproof run --all [--profile core] --report out; netproof matrix out/report.json\n```\n\n\
         A cell says how many cases passed of those that were tried, cases times topologies; an empty one, that the\n\
         implementation builds nothing that the suite is about. What fails by chance counts as failed, whatever it did\n\
         in this run. A suite that this kernel cannot run has no row.\n\n",
        report.suite.version, report.kernel
    );
    table(&mut text, report);
    for graded in &report.implementations {
        failures(&mut text, graded);
    }
    text
}

fn table(text: &mut String, report: &Report) {
    let heads: Vec<String> = report.implementations.iter().map(|graded| graded.name.clone()).collect();
    let _ = writeln!(text, "| suite | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(heads.len()));
    for suite in SUITES {
        let cells: Vec<String> = report.implementations.iter().map(|graded| cell(graded, suite.name)).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            let _ = writeln!(text, "| [{0}](suites/{0}.md) | {1} |", suite.name, cells.join(" | "));
        }
    }
}

fn cell(graded: &Graded, suite: &str) -> String {
    let passed = graded.count(suite, Verdict::Pass);
    let others = [Verdict::Fail, Verdict::Known, Verdict::Error].map(|verdict| graded.count(suite, verdict));
    let tried = passed + others.iter().sum::<usize>();
    match tried {
        0 => String::new(),
        _ if passed == tried => format!("{passed}"),
        _ => format!("**{passed}/{tried}**"),
    }
}

fn failures(text: &mut String, graded: &Graded) {
    let mut failed: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &graded.cases {
        if matches!(outcome.verdict, Verdict::Fail | Verdict::Known | Verdict::Error) {
            failed.entry(&outcome.id).or_default().push(outcome);
        }
    }
    let _ = writeln!(text, "\n## {} {}\n", graded.name, graded.version);
    if !graded.supplies.is_empty() {
        let _ = writeln!(text, "The driver supplies: {}.\n", graded.supplies.join(", "));
    }
    if failed.is_empty() {
        let _ = writeln!(text, "Nothing that was tried failed.");
    }
    for (id, outcomes) in failed {
        let on: Vec<String> = outcomes.iter().map(|outcome| format!("`{}`", outcome.topology)).collect();
        let Some(case) = all_cases().find(|case| case.id == id) else { continue };
        let why = outcomes.iter().find_map(|outcome| outcome.reason.as_deref()).unwrap_or_default();
        let _ = writeln!(
            text,
            "- `{id}` ({}) on {}: {}  \n  For a user: {}",
            case.level,
            on.join(", "),
            why.trim_end_matches('.').to_owned() + ".",
            case.failing
        );
    }
}
