//! Reports made by hand.

use netproof_suites::{
    Level,
    report::{Graded, Report},
    run::{Outcome, Verdict},
};

/// What came of a case on `pair`.
pub fn outcome(id: &str, verdict: Verdict) -> Outcome {
    let words = |text: &str| (verdict != Verdict::Pass).then(|| text.to_owned());
    Outcome {
        id: id.into(),
        topology: "pair".into(),
        level: Level::Must,
        verdict,
        ms: 20.0,
        reason: words("netns1: ping 10.20.20.41: expected Reply, seen: no reply"),
        cause: None,
        evidence: words("expectation failed at pair.rs:7\n  \u{1b}[1mstate\u{1b}[0m & <so on>"),
    }
}

/// A report of these outcomes of one implementation.
pub fn report(cases: Vec<Outcome>) -> Report {
    let mut report = Report::new();
    report.implementations.push(Graded {
        name: "native".into(),
        version: "0.1.0".into(),
        driver: None,
        supplies: Vec::new(),
        cases,
    });
    report
}
