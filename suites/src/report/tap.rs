//! The Test Anything Protocol, version 14.

use std::fmt::Write;

use super::Report;
use crate::run::Verdict;

/// The report as TAP.
#[must_use]
pub fn tap(report: &Report) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", report.outcomes().count());
    let outcomes = report.implementations.iter().flat_map(|graded| graded.cases.iter().map(move |case| (graded, case)));
    for (number, (graded, outcome)) in outcomes.enumerate() {
        // A known failure is a `not ok` that is to be done: TAP's readers do not count it.
        let ok = if matches!(outcome.verdict, Verdict::Pass | Verdict::Unsupported) { "ok" } else { "not ok" };
        let reason = outcome.reason.as_deref().unwrap_or_default().replace('#', "\\#");
        let directive = match outcome.verdict {
            Verdict::Unsupported => format!(" # SKIP unsupported: {reason}"),
            Verdict::Known => format!(" # TODO known: {reason}"),
            _ => String::new(),
        };
        let _ =
            writeln!(text, "{ok} {} - {}: {} on {}{directive}", number + 1, graded.name, outcome.id, outcome.topology);
        if let (Verdict::Fail | Verdict::Error, Some(evidence)) = (outcome.verdict, &outcome.evidence) {
            let _ = writeln!(text, "  ---\n  message: |");
            evidence.lines().for_each(|line| _ = writeln!(text, "    {line}"));
            let _ = writeln!(text, "  ...");
        }
    }
    text
}
