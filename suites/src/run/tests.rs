use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use netproof::{
    Error, Lab, Result, expect,
    implement::{Implementation, Native, Site},
    protocol::{Reply, Request},
};
use rstest::rstest;

use super::*;
use crate::{case::Start, shipped, stage::Stage};

/// The built-in implementation, but for one fault.
#[derive(Default)]
struct Faulty {
    native: Native,
    /// From which `up` on it fails; 0: never.
    fails_from: usize,
    declines: bool,
    ups: AtomicUsize,
}

impl Implementation for Faulty {
    fn describe(&self, site: &Site) -> Result<Description> {
        self.native.describe(site)
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        let count = 1 + self.ups.fetch_add(1, Ordering::SeqCst);
        if self.declines {
            return Err(Error::Unsupported("exit status 89".into()));
        }
        if self.fails_from > 0 && count >= self.fails_from {
            return Err(Error::Implementation {
                implementation: "faulty".into(),
                verb: "up".into(),
                message: "exit status 7".into(),
                evidence: "no such bridge".into(),
            });
        }
        self.native.up(site, request)
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        self.native.down(site, request)
    }
}

fn subject(faulty: Faulty) -> Subject {
    Subject { implementation: Arc::new(faulty), ..shipped::native() }
}

const fn case(id: &'static str, run: fn(&mut Stage) -> Result<()>) -> Case {
    let (level, start) = (Level::Must, Start::Built);
    Case { id, level, claim: "", source: "", failing: "", on: &["pair"], start, run }
}

fn hang(_: &mut Stage) -> Result<()> {
    // Nobody will ever send.
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv();
    Ok(())
}

static HOLDS: Case = case("test/holds", |_| Ok(()));
static FAILS: Case = case("test/fails", |stage| {
    expect!(stage.node("netns1").ping(stage.node("netns2")), NoReply);
    Ok(())
});
static PANICS: Case = case("test/panics", |_| panic!("a fault of the case"));
// Nothing is built for it: an `up` that a busy machine is still at would be blamed for the time.
static HANGS: Case = Case { start: Start::Prepared, ..case("test/hangs", hang) };
static LACKS: Case = case("test/lacks", |_| Err(Error::Unsupported("no such kernel feature".into())));
static USAGE: Case = case("test/usage", |_| Err(Error::Usage("no such name".into())));

fn item(case: &'static Case) -> Item {
    Item { case, topology: Topology::shipped("pair").unwrap() }
}

const OPTIONS: Options = Options { jobs: 1, timeout: Duration::from_secs(30), fail_fast: None };

fn graded(subject: &Subject, cases: &[&'static Case], options: &Options, stop: &Stop) -> Vec<Outcome> {
    let items: Vec<Item> = cases.iter().map(|case| item(case)).collect();
    grade(subject, &items, options, stop, &|_| {})
}

fn reason(outcome: &Outcome) -> &str {
    outcome.reason.as_deref().unwrap_or_default()
}

/// What each way to end means.
#[rstest]
#[case::held(&HOLDS, Verdict::Pass, "")]
#[case::false_claim(&FAILS, Verdict::Fail, "netns1: ping 10.20.20.41")]
#[case::panic(&PANICS, Verdict::Error, "a fault of the case")]
#[case::unsupported(&LACKS, Verdict::Unsupported, "no such kernel feature")]
#[case::error(&USAGE, Verdict::Error, "no such name")]
fn endings(#[case] case: &'static Case, #[case] verdict: Verdict, #[case] begins: &str) {
    let outcome = try_one(&shipped::native(), &item(case), OPTIONS.timeout);
    assert_eq!(outcome.verdict, verdict, "{outcome:?}");
    assert!(reason(&outcome).starts_with(begins), "{outcome:?}");
    assert_eq!(outcome.evidence.is_some(), verdict != Verdict::Pass);
}

/// A panic that is no failed expectation says where it happened.
#[test]
fn a_panic_names_its_place() {
    let outcome = try_one(&shipped::native(), &item(&PANICS), OPTIONS.timeout);
    assert!(outcome.evidence.unwrap().contains("suites/src/run/tests.rs:"));
}

/// A case that does not end is given up, and the others go on.
#[test]
fn what_hangs_is_given_up() {
    let options = Options { timeout: Duration::from_millis(300), ..OPTIONS };
    let outcomes = graded(&shipped::native(), &[&HANGS, &HOLDS], &options, &Stop::default());
    assert_eq!(outcomes[0].verdict, Verdict::Error);
    assert!(reason(&outcomes[0]).contains("did not end within"), "{:?}", outcomes[0]);
    // On a busy machine it may take longer itself; that it was tried is what counts.
    assert_eq!(outcomes[1].id, "test/holds");
}

/// Once `up` has failed, it is not asked again for this topology: every case fails, with its words as evidence.
#[test]
fn a_topology_that_cannot_be_built_fails_all_its_cases() {
    let faulty = Arc::new(Faulty { fails_from: 1, ..Faulty::default() });
    let subject = Subject { implementation: faulty.clone(), ..shipped::native() };
    let outcomes = graded(&subject, &[&HOLDS, &LACKS, &HOLDS], &OPTIONS, &Stop::default());
    assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Fail), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| reason(outcome) == "faulty: up: exit status 7"), "{outcomes:?}");
    assert!(outcomes[2].evidence.as_ref().unwrap().contains("| no such bridge"));
    assert_eq!(faulty.ups.load(Ordering::SeqCst), 1);
}

/// Where not every `up` succeeds, no case of the topology has passed, whatever the order.
#[test]
fn luck_is_no_pass() {
    let outcomes =
        graded(&subject(Faulty { fails_from: 2, ..Faulty::default() }), &[&HOLDS, &HOLDS], &OPTIONS, &Stop::default());
    assert_eq!(outcomes[0].verdict, Verdict::Fail);
    assert!(reason(&outcomes[0]).contains("not every `up` succeeds"), "{:?}", outcomes[0]);
}

/// Who claims a shipped topology and then declines it has failed.
#[test]
fn declining_what_was_claimed_is_a_failure() {
    let outcome = try_one(&subject(Faulty { declines: true, ..Faulty::default() }), &item(&HOLDS), OPTIONS.timeout);
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert!(reason(&outcome).contains("does not support `pair`, which `describe` claims"), "{outcome:?}");
}

/// What is not claimed is not asked for; what is not installed says how to get it.
#[test]
fn what_is_not_claimed_is_unsupported() {
    let mut subject = subject(Faulty { fails_from: 1, ..Faulty::default() });
    subject.description.topologies = vec!["gateway".into()];
    let outcome = try_one(&subject, &item(&HOLDS), OPTIONS.timeout);
    assert_eq!((outcome.verdict, reason(&outcome)), (Verdict::Unsupported, "native does not build `pair`"));
    subject.description.missing = Some("apt-get install it".into());
    let outcome = try_one(&subject, &item(&HOLDS), OPTIONS.timeout);
    assert!(reason(&outcome).ends_with("is not installed: apt-get install it"), "{outcome:?}");
}

/// A verb that `describe` does not name is not called: `native` has `remove`, and is not asked.
#[test]
fn verbs_that_are_not_claimed_are_not_called() {
    static REMOVES: Case = case("test/removes", |stage| stage.remove("netns2"));
    let mut subject = shipped::native();
    subject.description.verbs = vec!["up".into(), "down".into()];
    let outcome = try_one(&subject, &item(&REMOVES), OPTIONS.timeout);
    assert_eq!((outcome.verdict, reason(&outcome)), (Verdict::Unsupported, "native has no verb `remove`"));
}

/// `fail_fast` ends the run after the first failure that counts, not after one that does not.
#[test]
fn the_first_failure_ends_a_hasty_run() {
    let cases = [&HOLDS, &FAILS, &HOLDS];
    let must = Options { fail_fast: Some(Level::Must), ..OPTIONS };
    assert_eq!(graded(&shipped::native(), &cases, &must, &Stop::default()).len(), 2);
    assert_eq!(graded(&shipped::native(), &cases, &OPTIONS, &Stop::default()).len(), 3);
}

/// A run that is stopped reports what was done, and does not wait for a case that hangs.
#[test]
fn a_stopped_run_reports_what_was_done() {
    let stop = Stop::default();
    let items = [item(&HOLDS), item(&HANGS), item(&HOLDS)];
    let outcomes = grade(&shipped::native(), &items, &OPTIONS, &stop, &|outcome| {
        assert_eq!(outcome.id, "test/holds");
        stop.now();
    });
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert!(stop.is_hasty());
}

/// Outcomes are in the items' order, whichever ended first.
#[test]
fn outcomes_keep_their_order() {
    let cases = [&FAILS, &HOLDS, &LACKS, &HOLDS, &PANICS];
    let outcomes = graded(&shipped::native(), &cases, &Options { jobs: 4, ..OPTIONS }, &Stop::default());
    let ids: Vec<&str> = outcomes.iter().map(|outcome| outcome.id.as_str()).collect();
    assert_eq!(ids, cases.map(|case| case.id));
}

/// `Lab`s by hand serve the same cases.
#[test]
fn a_stage_is_a_lab() {
    let native = shipped::native();
    let lab = Lab::builder(Topology::shipped("pair").unwrap()).up().unwrap();
    let stage = Stage::new(lab, native.description, native.implementation);
    assert!(stage.knows("up") && !stage.knows("sideways"));
    assert_eq!(stage.peers().len(), 2);
}
