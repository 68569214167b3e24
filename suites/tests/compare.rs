//! What changed between two reports, and failures that are known.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use common::{outcome, report};
use netproof_suites::{
    compare::{Change, ChangeKind, compare},
    deviation::Deviations,
    run::{
        Outcome,
        Verdict::{self, Error, Fail, Known, Pass, Unsupported},
    },
    suite::all_cases,
};
use rstest::rstest;

const PEERS: &str = "pair/peers-reach-each-other";
const DOWN: &str = "pair/a-bridge-left-down-carries-nothing";

fn changes(old: Vec<Outcome>, new: Vec<Outcome>) -> Vec<Change> {
    compare(&report(old), &report(new))
}

/// Each change of a verdict is for the better or the worse.
#[rstest]
#[case(Pass, Fail, ChangeKind::Worse)]
#[case(Pass, Known, ChangeKind::Worse)]
#[case(Pass, Error, ChangeKind::Worse)]
#[case(Pass, Unsupported, ChangeKind::Worse)]
#[case(Known, Fail, ChangeKind::Worse)]
#[case(Fail, Pass, ChangeKind::Better)]
#[case(Fail, Known, ChangeKind::Better)]
#[case(Known, Pass, ChangeKind::Better)]
#[case(Unsupported, Pass, ChangeKind::Better)]
#[case(Unsupported, Fail, ChangeKind::Worse)]
#[case(Error, Pass, ChangeKind::Better)]
fn verdicts(#[case] was: Verdict, #[case] is: Verdict, #[case] kind: ChangeKind) {
    let changes = changes(vec![outcome(PEERS, was)], vec![outcome(PEERS, is)]);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].kind, changes[0].kind.is_regression()), (kind, kind == ChangeKind::Worse));
    assert_eq!(changes[0].name, format!("native: {PEERS} on pair"));
}

/// Nothing changed, nothing is told.
#[test]
fn the_same_is_no_change() {
    let cases = || [Pass, Fail, Known, Unsupported, Error].map(|verdict| outcome(PEERS, verdict)).to_vec();
    assert_eq!(changes(cases(), cases()), []);
}

/// What is not tried any more is a regression; what is new is told.
#[test]
fn cases_come_and_go() {
    let changes = changes(vec![outcome(PEERS, Pass)], vec![outcome(DOWN, Fail)]);
    let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Vanished, ChangeKind::New]);
    assert!(changes[0].kind.is_regression() && !changes[1].kind.is_regression());
}

/// A case that takes much longer is told; one that takes a little longer, or is quick all the same, is not.
#[rstest]
#[case(100.0, 3_000.0, true)]
#[case(2_000.0, 3_000.0, false)]
#[case(1.0, 400.0, false)]
fn times(#[case] was: f64, #[case] is: f64, #[case] told: bool) {
    let of = |ms| vec![Outcome { ms, ..outcome(PEERS, Pass) }];
    let changes = changes(of(was), of(is));
    assert_eq!(changes.iter().any(|change| change.kind == ChangeKind::Slower), told);
    assert!(!changes.iter().any(|change| change.kind.is_regression()));
}

/// Two implementations that have the same name are told apart by their order.
#[test]
fn implementations_are_told_apart() {
    let both = |verdicts: [Verdict; 2]| {
        let mut report = report(Vec::new());
        report.implementations.extend(report.implementations.clone());
        for (graded, verdict) in report.implementations.iter_mut().zip(verdicts) {
            graded.cases = vec![outcome(PEERS, verdict)];
        }
        report
    };
    let changes = compare(&both([Pass, Pass]), &both([Fail, Pass]));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].kind, ChangeKind::Worse);
}

fn listed(case: &str, rest: &str) -> Deviations {
    Deviations::parse("known.toml", &format!("[[known]]\ncase = \"{case}\"\nreason = \"not yet\"\n{rest}")).unwrap()
}

/// A listed failure is `known`, with the reason and the link; what else comes of a case is left alone.
#[test]
fn listed_failures_are_known() {
    let known = listed(PEERS, "link = \"https://example.org/7\"");
    let mut outcomes = vec![outcome(PEERS, Fail), outcome(DOWN, Fail), outcome(PEERS, Error), outcome(PEERS, Pass)];
    known.apply(&mut outcomes);
    let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Known, Fail, Error, Pass]);
    assert_eq!(outcomes[0].reason.as_deref(), Some("not yet (https://example.org/7)"));
    assert!(outcomes[0].evidence.is_some());
}

/// A line whose case passes again is stale; one whose case was not tried, or cannot be here, is not.
#[rstest]
#[case::passes(&[Pass], true)]
#[case::fails(&[Fail], false)]
#[case::fails_somewhere(&[Pass, Fail], false)]
#[case::cannot_be_tried_here(&[Unsupported], false)]
#[case::passes_where_it_can(&[Unsupported, Pass], true)]
#[case::error(&[Error], false)]
#[case::not_tried(&[], false)]
fn stale_lines(#[case] verdicts: &[Verdict], #[case] stale: bool) {
    let known = listed(PEERS, "topology = \"pair\"");
    let mut outcomes: Vec<Outcome> = verdicts.iter().map(|verdict| outcome(PEERS, *verdict)).collect();
    known.apply(&mut outcomes);
    assert_eq!(!known.unused(&outcomes).is_empty(), stale);
}

/// A line for every topology is stale where the case passes on all of them, and not by those that were selected.
#[test]
fn a_line_for_every_topology_is_judged_by_all() {
    let known = listed(PEERS, "");
    let case = all_cases().find(|case| case.id == PEERS).unwrap();
    let on = |name: &&str| Outcome { topology: (*name).to_owned(), ..outcome(PEERS, Pass) };
    let outcomes: Vec<Outcome> = case.on.iter().map(on).collect();
    assert_eq!(known.unused(&outcomes).len(), 1);
    assert!(known.unused(&outcomes[1..]).is_empty());
}

/// A list that is made of outcomes makes exactly their failures known, and is read as it was written.
#[test]
fn a_list_is_made_of_failures() {
    let on = |topology: &str, verdict| Outcome { topology: topology.into(), ..outcome(PEERS, verdict) };
    let why = Outcome { cause: Some("br0 is down\nmore".into()), ..outcome(DOWN, Fail) };
    // Wherever it is tried, it fails: one line.
    let case = all_cases().find(|case| case.id == DOWN).unwrap();
    let mut outcomes = vec![on("pair", Fail), on("star", Pass), why.clone()];
    outcomes.extend(case.on[1..].iter().map(|name| Outcome { topology: (*name).into(), ..why.clone() }));
    outcomes.push(outcome(DOWN, Unsupported));
    let text = toml::to_string(&Deviations::of("2.1", &outcomes)).unwrap();
    let list = Deviations::parse("known.toml", &text).unwrap();
    assert_eq!(list.versions, ["2.1"]);
    let lines: Vec<_> = list.known.iter().map(|known| (known.name(), known.reason.as_str())).collect();
    let ping = "netns1: ping 10.20.20.41: expected Reply, seen: no reply";
    assert_eq!(lines, [(format!("{PEERS} on pair"), ping), (DOWN.to_owned(), "br0 is down")]);
    list.apply(&mut outcomes);
    let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts[..2], [Known, Pass]);
    let (unsupported, known) = verdicts[2..].split_last().unwrap();
    assert!(known.iter().all(|verdict| *verdict == Known) && *unsupported == Unsupported, "{verdicts:?}");
}

/// A list is about the versions that begin as it says, and one that says nothing about all.
#[test]
fn a_list_is_about_a_version() {
    let list = |version: &str| Deviations::parse("known.toml", version).unwrap();
    assert!(list("versions = [\"20.10\", \"26.1\"]").is_about("20.10.24+dfsg1"));
    assert!(!list("versions = [\"20.10\", \"26.1\"]").is_about("28.0.1"));
    assert!(list("").is_about("28.0.1"));
    assert!(list("versions = [\"1.1\"]").is_about("1.1.1+ds1-3"));
    assert!(!list("versions = [\"1.1\"]").is_about("1.14.0"));
    assert!(list("versions = [\"2.\"]").is_about("2.1.0"));
}

/// A line may be about some of the list's versions; another reason for the same case about others. What the list does
/// not know yet has all that is known.
#[rstest]
#[case::the_first("20.10.24", Known, "long ago")]
#[case::the_second("26.1.5", Known, "still")]
#[case::neither("28.5.2", Fail, "netns1: ping 10.20.20.41: expected Reply, seen: no reply")]
#[case::unknown("29.0", Known, "long ago")]
fn a_line_is_about_versions(#[case] version: &str, #[case] verdict: Verdict, #[case] reason: &str) {
    let line = |version: &str, why: &str| {
        format!("[[known]]\ncase = \"{PEERS}\"\nversions = [\"{version}\"]\nreason = \"{why}\"\n")
    };
    let text =
        format!("versions = [\"20.10\", \"26.1\", \"28.5\"]\n{}{}", line("20.10", "long ago"), line("26.1", "still"));
    let known = Deviations::parse("known.toml", &text).unwrap().of_version(version);
    let mut outcomes = vec![outcome(PEERS, Fail)];
    known.apply(&mut outcomes);
    assert_eq!((outcomes[0].verdict, outcomes[0].reason.as_deref()), (verdict, Some(reason)));
}

/// What fails by chance is `known` either way: no run differs by it, and no line is stale.
#[test]
fn what_fails_by_chance_is_known() {
    let known = listed(PEERS, "sometimes = true");
    let mut outcomes = vec![outcome(PEERS, Fail), outcome(PEERS, Pass), outcome(PEERS, Error), outcome(DOWN, Pass)];
    known.apply(&mut outcomes);
    let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Known, Known, Error, Pass]);
    assert!(outcomes[1].reason.as_ref().unwrap().starts_with("by chance: "));
    assert!(known.unused(&outcomes[1..2]).is_empty());
}

/// A list that makes no sense is an error that says which line, or which case.
#[rstest]
#[case::no_such_case("case = \"pair/so\"\nreason = \"x\"", "known.toml: no case has the id `pair/so`")]
#[case::no_reason(
    "case = \"pair/peers-reach-each-other\"\nreason = \" \"",
    "pair/peers-reach-each-other has no reason"
)]
#[case::no_reason_at_all("case = \"pair/peers-reach-each-other\"", "known.toml:1: missing field `reason`")]
#[case::unknown_key(
    "case = \"pair/peers-reach-each-other\"\nreason = \"x\"\nwhy = \"y\"",
    "known.toml:4: unknown field `why`"
)]
#[case::not_tried_there(
    "case = \"pair/peers-reach-each-other\"\ntopology = \"veth\"\nreason = \"x\"",
    "pair/peers-reach-each-other is not tried on `veth`"
)]
#[case::twice(
    "case = \"pair/peers-reach-each-other\"\nreason = \"x\"\n[[known]]\ncase = \"pair/peers-reach-each-other\"\ntopology = \"pair\"\nreason = \"y\"",
    "pair/peers-reach-each-other on pair is listed twice"
)]
#[case::another_version(
    "case = \"pair/peers-reach-each-other\"\nversions = [\"26.1\"]\nreason = \"x\"",
    "pair/peers-reach-each-other fails in `26.1`, which the list is not about"
)]
fn malformed_lists(#[case] text: &str, #[case] message: &str) {
    let error = Deviations::parse("known.toml", &format!("[[known]]\n{text}\n")).unwrap_err();
    assert!(error.contains(message), "{error}");
}
