//! Reports: their forms, and that they are written whole.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::path::Path;

use common::{outcome, report};
use netproof_suites::{
    Level,
    deviation::Deviations,
    report::{Again, Report, junit, matrix, tap, text},
    run::{
        Outcome,
        Verdict::{self, Error, Fail, Known, Pass, Unsupported},
    },
};
use rstest::rstest;
use serde_json::{Value, json};

const ID: &str = "pair/peers-reach-each-other";

fn of_each_verdict() -> Report {
    report([Pass, Fail, Known, Unsupported, Error].map(|verdict| outcome(ID, verdict)).into())
}

/// `report.json` has the keys that its schema, 1, promises.
#[test]
fn json_has_what_it_promises() {
    let value = serde_json::to_value(of_each_verdict()).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["suite"]["version"], netproof_suites::SUITE_VERSION);
    assert!(value["kernel"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{}", value["kernel"]);
    assert!(value["machine"]["processors"].as_u64().unwrap() > 0);
    let graded = &value["implementations"][0];
    assert_eq!((&graded["name"], &graded["driver"], &graded["supplies"]), (&json!("native"), &Value::Null, &json!([])));
    let verdicts: Vec<&str> =
        graded["cases"].as_array().unwrap().iter().map(|case| case["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["pass", "fail", "known", "unsupported", "error"]);
    let case = &graded["cases"][1];
    assert_eq!((&case["id"], &case["topology"], &case["level"]), (&json!(ID), &json!("pair"), &json!("MUST")));
    assert!(case["ms"].is_number() && case["reason"].is_string() && case["evidence"].is_string());
    assert!(graded["cases"][0].get("reason").is_none());
    assert!(value.get("interrupted").is_none());
}

/// What is written is what is read.
#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let written = of_each_verdict();
    written.write(&folder.path().join("new/folder")).unwrap();
    let read = Report::read(&folder.path().join("new/folder/report.json")).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(written).unwrap());
}

/// Where a report cannot be written, nothing of it is there, and what was there is as it was.
#[test]
fn nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    // A folder has the name of the second file: nothing can replace it.
    std::fs::create_dir_all(folder.path().join("junit.xml/in-the-way")).unwrap();
    std::fs::write(folder.path().join("report.json"), "the old one").unwrap();
    of_each_verdict().write(folder.path()).unwrap_err();
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("report.json")).unwrap(), "the old one");
}

/// A report of a later form is refused, and so is what is none.
#[test]
fn only_known_forms_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let mut later = of_each_verdict();
    later.schema = 2;
    std::fs::write(&path, serde_json::to_string(&later).unwrap()).unwrap();
    assert_eq!(Report::read(&path).unwrap_err().to_string(), "its schema is 2, and this command reads 1");
    std::fs::write(&path, "{}").unwrap();
    let error = Report::read(&path).unwrap_err().to_string();
    assert!(error.contains("this is no report of netproof's: missing field"), "{error}");
    of_each_verdict().write(folder.path()).unwrap();
    assert_eq!(Report::read(folder.path()).unwrap().count(Fail), 1);
    let error = of_each_verdict().write(&path).unwrap_err().to_string();
    assert_eq!(error, "a file, and it is to be a folder");
}

/// What counts in the exit status.
#[rstest]
#[case::all_well(&[Pass, Unsupported, Known], Level::May, 0)]
#[case::failed(&[Pass, Fail, Error], Level::Must, 1)]
#[case::error_alone(&[Pass, Error], Level::Must, 3)]
fn exit_status(#[case] verdicts: &[Verdict], #[case] level: Level, #[case] status: u8) {
    let report = report(verdicts.iter().map(|verdict| outcome(ID, *verdict)).collect());
    assert_eq!(report.status(level), status);
}

/// A failure below the level does not count; an error does.
#[test]
fn levels_count() {
    let mut may = outcome(ID, Fail);
    may.level = Level::Should;
    assert_eq!(report(vec![may.clone()]).status(Level::Must), 0);
    assert_eq!(report(vec![may.clone()]).status(Level::Should), 1);
    assert_eq!(report(vec![may, outcome(ID, Error)]).status(Level::Must), 3);
}

/// JUnit counts failures, errors and skipped ones, and is well-formed whatever the evidence has in it.
#[test]
fn junit_is_read_by_others() {
    let xml = junit(&of_each_verdict()).unwrap();
    assert!(xml.contains(r#"<testsuite name="native" tests="5" skipped="2" errors="1" failures="1">"#), "{xml}");
    assert!(xml.contains(r#"name="pair/peers-reach-each-other on pair" classname="pair""#), "{xml}");
    assert!(xml.contains("&amp; &lt;so on&gt;"), "{xml}");
    assert!(!xml.contains('\u{1b}'), "{xml}");
}

/// TAP has a plan, one line for each case, and no `#` that it does not mean.
#[test]
fn tap_is_read_by_others() {
    let text = tap(&of_each_verdict());
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(lines[..2], ["TAP version 14", "1..5"]);
    assert_eq!(lines[2], "ok 1 - native: pair/peers-reach-each-other on pair");
    assert_eq!(lines[3], "not ok 2 - native: pair/peers-reach-each-other on pair");
    assert!(lines[4].starts_with("not ok 3 - ") && lines[4].contains(" # TODO known: "), "{}", lines[4]);
    assert!(lines[5].starts_with("ok 4 - ") && lines[5].contains(" # SKIP unsupported: "), "{}", lines[5]);
    assert!(lines[6].starts_with("not ok 5 - "), "{}", lines[6]);
}

/// The text has the claim, its source, what failing means, and the evidence; then the counts.
#[test]
fn text_tells_the_story() {
    let text = anstream::adapter::strip_str(&text(&of_each_verdict(), &Again::default())).to_string();
    for part in [
        "FAIL pair/peers-reach-each-other on pair (MUST, native)",
        "  claim: Nodes on one bridge answer each other's pings",
        "  failing: Containers of one network cannot talk to each other.",
        "  again: netproof run pair/peers-reach-each-other@pair\n",
        "  look around: netproof shell pair/peers-reach-each-other@pair\n",
        "  expectation failed at pair.rs:7",
        "ERROR pair/peers-reach-each-other on pair",
        "known pair/peers-reach-each-other@pair: ",
        "unsupported 1 x native: ",
        "1 pass, 1 fail, 1 known, 1 unsupported, 1 error (suite 0.1.0, Linux ",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

/// Failures of one cause are one story, and a list of the others that it has befallen.
#[test]
fn one_cause_is_told_once() {
    let failed = |id: &str, cause: Option<&str>| {
        let mut failed = outcome(id, Fail);
        failed.cause = cause.map(Into::into);
        failed.evidence = Some(format!("expectation failed at {id}"));
        failed
    };
    let report = report(vec![
        failed(ID, Some("br0 in host is down")),
        failed("pair/the-other-subnet-is-on-link", None),
        failed("pair/peers-know-each-others-mac", Some("br0 in host is down")),
        failed("pair/both-sides-need-the-route", None),
        failed("pair/own-address-needs-lo", Some("lo in netns1 is down")),
    ]);
    let text = anstream::adapter::strip_str(&text(&report, &Again::default())).to_string();
    assert_eq!(text.matches("expectation failed").count(), 4, "{text}");
    let others = "\n  the same cause, 1 more (`--report DIR` keeps their evidence):\n    FAIL pair/peers-know-each-others-mac on pair (MUST)\n\n";
    assert!(text.contains(others), "{text}");
}

/// Errors are one story where all of their words are the same: the first line, alone, is the same of many.
#[test]
fn only_equal_errors_are_told_once() {
    let left = |id: &str, what: &str| {
        let mut failed = outcome(id, Fail);
        failed.evidence = Some(format!("read back from the kernel: the host is not as before:\n+ {what}"));
        failed
    };
    let report = report(vec![
        left(ID, "link br0"),
        left("pair/own-address-needs-lo", "rule masquerade"),
        left("pair/both-sides-need-the-route", "link br0"),
    ]);
    let text = text(&report, &Again::default());
    assert_eq!((text.matches("+ link br0").count(), text.matches("+ rule masquerade").count()), (1, 1), "{text}");
    assert_eq!(text.matches("the same cause, 1 more").count(), 1, "{text}");
}

/// What is tried again is tried as it was: on the user's own topology, with the same list of known failures.
#[test]
fn again_as_it_was() {
    let again = Again { topology: Some(Path::new("mine.toml")), options: " --deviations known.toml".into() };
    let text = text(&report(vec![outcome(ID, Fail)]), &again);
    for line in [
        "  again: netproof run --deviations known.toml --topology mine.toml pair/peers-reach-each-other\n",
        "  look around: netproof shell --topology mine.toml pair/peers-reach-each-other\n",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

/// What an implementation does not build is one line, and so is each reason for which something is known to fail.
#[test]
fn one_reason_is_one_line() {
    let with = |verdict, topology: &str, reason: String| {
        let mut outcome = outcome(ID, verdict);
        (outcome.topology, outcome.reason) = (topology.into(), Some(reason));
        outcome
    };
    let unclaimed = |name: &str| with(Unsupported, name, format!("native does not build `{name}`"));
    let known = |topology: &str| with(Known, topology, "it is down".into());
    let all = vec![unclaimed("pair"), unclaimed("star"), known("a"), known("b"), known("c"), known("d"), known("e")];
    let text = anstream::adapter::strip_str(&text(&report(all), &Again::default())).to_string();
    assert!(text.contains("unsupported native does not build pair, star\n"), "{text}");
    let known = format!("known {ID}@a, {ID}@b, {ID}@c, 2 more: it is down\n");
    assert!(text.contains(&known), "{text}");
}

/// A list to begin with keeps the reasons of what was listed before, is about what was tried alone, and says what was left.
#[test]
fn a_list_from_a_report() {
    let mut listed = outcome(ID, Known);
    (listed.reason, listed.cause) = (Some("looked into".into()), Some("guessed".into()));
    let mut left = outcome("pair/own-address-needs-lo", Fail);
    (left.reason, left.cause) = (Some("the host is not as before:".into()), None);
    left.evidence = Some("the host is not as before:\n  + link br0\n  + link br1".into());
    let list = Deviations::of("1", &[listed, left]);
    assert_eq!(list.known[0].topology.as_deref(), Some("pair"), "it is tried on others too");
    let reasons: Vec<&str> = list.known.iter().map(|known| known.reason.as_str()).collect();
    assert_eq!(reasons, ["looked into", "the host is not as before: + link br0"]);
}

/// A driver that floods its standard error does not flood the reader.
#[test]
fn much_evidence_is_shown_at_both_ends() {
    let mut flooding = outcome(ID, Fail);
    flooding.evidence = Some((0..10_000).map(|number| format!("line {number}\n")).collect());
    let text = text(&report(vec![flooding]), &Again::default());
    assert!(text.lines().count() < 250);
    for part in ["line 0\n", "line 99\n", "... 9800 lines: report.json has them ...", "line 9999\n"] {
        assert!(text.contains(part), "no `{part}`");
    }
}

/// In the matrix each cause stands once, with all that fails for it: one case may fail for two, on two topologies.
#[test]
fn the_matrix_tells_causes_once() {
    const OTHER: &str = "pair/own-address-needs-lo";
    let failed = |id: &str, topology: &str, reason: &str| Outcome {
        topology: topology.into(),
        reason: Some(reason.into()),
        ..outcome(id, Known)
    };
    let page = matrix(&report(vec![
        failed(ID, "pair", "br0 is left down"),
        failed(ID, "star", "the port is left down."),
        failed(OTHER, "pair", "the port is left down"),
        outcome(ID, Pass),
    ]));
    let section = page.split("## native\n").nth(1).unwrap();
    let causes: Vec<&str> = section.split("\n- ").collect();
    assert!(causes[0].contains("Claims that do not hold: 2 (2 MUST), by cause:"), "{section}");
    assert!(causes[1].starts_with("the port is left down:\n"), "{section}");
    assert!(causes[1].contains("`pair/own-address-needs-lo`") && causes[1].contains("(MUST) on `star`: "), "{section}");
    assert!(causes[2].starts_with("br0 is left down:\n") && causes[2].contains(" on `pair`: "), "{section}");
    assert_eq!(causes.len(), 3, "{section}");
}
