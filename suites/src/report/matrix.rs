//! Implementations against suites, as a page of Markdown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Graded, Report};
use crate::{
    case::{Case, Level},
    run::{Outcome, Verdict},
    shipped,
    suite::{SUITES, all_cases},
};

/// The page: a table of counts, then what each implementation fails, by causes, and what that means for who uses it.
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
    // A heading's anchor has no dots.
    let head = |graded: &Graded| format!("[{}](#{})", graded.name, graded.name.replace('.', ""));
    let heads: Vec<String> = report.implementations.iter().map(head).collect();
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
    let _ = writeln!(text, "\n## {}\n\n{}\n", graded.name, about(graded));
    let failed = graded.cases.iter().filter(|outcome| has_failed(outcome));
    let mut causes: BTreeMap<&str, Claims> = BTreeMap::new();
    for outcome in failed {
        let cause = outcome.reason.as_deref().unwrap_or("(no reason is known)").trim_end_matches('.');
        causes.entry(cause).or_default().entry(&outcome.id).or_default().push(outcome);
    }
    if causes.is_empty() {
        let _ = writeln!(text, "Nothing that was tried failed.");
        return;
    }
    let ids: BTreeSet<&str> = causes.values().flat_map(|claims| claims.keys().copied()).collect();
    let must = ids.iter().filter(|id| case(id).is_some_and(|case| case.level == Level::Must)).count();
    let errors = graded.cases.iter().filter(|outcome| outcome.verdict == Verdict::Error).count();
    let errors = if errors > 0 { format!("; {errors} cases ended in an error") } else { String::new() };
    let _ = writeln!(text, "Claims that do not hold: {} ({must} MUST{errors}), by cause:\n", ids.len());
    let mut causes: Vec<(&str, Claims)> = causes.into_iter().collect();
    // What explains most comes first.
    causes.sort_by_key(|(_, claims)| std::cmp::Reverse(claims.len()));
    for (cause, claims) in causes {
        let _ = writeln!(text, "- {cause}:");
        claims.into_iter().for_each(|(id, outcomes)| claim(text, id, &outcomes));
    }
}

/// What fails for one cause: claims by id, each on its topologies.
type Claims<'a> = BTreeMap<&'a str, Vec<&'a Outcome>>;

fn has_failed(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Fail | Verdict::Known | Verdict::Error)
}

fn case(id: &str) -> Option<&'static Case> {
    all_cases().find(|case| case.id == id)
}

fn claim(text: &mut String, id: &str, outcomes: &[&Outcome]) {
    let Some(case) = case(id) else { return };
    let on: Vec<String> = outcomes.iter().map(|outcome| format!("`{}`", outcome.topology)).collect();
    let _ = writeln!(text, "  - `{id}` ({}) on {}: {}", case.level, on.join(", "), case.failing);
}

/// Its version, where its driver is, what that adds, and how it is graded again.
fn about(graded: &Graded) -> String {
    let Graded { name, version, supplies, .. } = graded;
    let version = if version.is_empty() { "Of no known version".into() } else { format!("Version {version}") };
    let again = format!("; `netproof run --implementation {name}` grades it");
    let whose = match name.as_str() {
        "native" => format!(", built in{again}"),
        shipped if shipped::names().any(|known| known == shipped) => {
            format!(", by [its driver](../fixtures/drivers/{shipped}){again}")
        }
        _ => String::new(),
    };
    match &supplies[..] {
        [] => format!("{version}{whose}."),
        some => format!("{version}{whose}. Of what the topologies ask for the driver adds: {}.", some.join(", ")),
    }
}
