//! Expectations against probes whose answers are written down beforehand.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::catch_unwind,
    time::Instant,
};

use super::*;
use crate::{Namespace, probe::Watch};

/// Answers from a list, the last one for ever.
struct Fake {
    answers: RefCell<Vec<Result<Said, i32>>>,
    looks: Cell<usize>,
    unproven: bool,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Yes(u32),
    Refused,
    No,
}

use Said::{No, Refused, Yes};

impl Seen for Said {
    type As<'a> = Said;

    fn seen(&self) -> Said {
        *self
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "said {self:?}")
    }
}

/// Something changes every 10 ms.
struct Often;

impl Watch for Often {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        std::thread::sleep(deadline.left().min(Duration::from_millis(10)));
        Ok(!deadline.passed())
    }
}

impl Probe for Fake {
    type Output = Said;

    fn describe(&self) -> String {
        "fake: ask".into()
    }

    fn look(&self, _: Deadline) -> Result<Said> {
        self.looks.set(self.looks.get() + 1);
        let mut answers = self.answers.borrow_mut();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        answer.map_err(|errno| Error::kernel("asking", "fake", std::io::Error::from_raw_os_error(errno)))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Often))
    }

    fn concerned(&self) -> Vec<Namespace> {
        Vec::new()
    }

    fn last_word(&self, seen: &Said) -> bool {
        matches!(seen, Yes(_))
    }

    fn came_back(&self, seen: &Said) -> Option<bool> {
        Some(!matches!(seen, No))
    }

    fn control<M>(&self, seen: &Said, _matches: &M) -> Result<Option<String>> {
        Ok((self.unproven && matches!(seen, No)).then(|| "nobody was asked".into()))
    }
}

fn fake(answers: &[Result<Said, i32>]) -> Fake {
    Fake { answers: RefCell::new(answers.to_vec()), looks: Cell::new(0), unproven: false }
}

fn failure(code: impl FnOnce() -> Result<Said, Box<Failure>>) -> Failure {
    *code().expect_err("this expectation must fail")
}

const SHORT: Duration = Duration::from_millis(100);

/// A pattern that does not match at first is looked at again until it does, and what matched is the value.
#[test]
fn looks_until_it_matches() {
    let probe = fake(&[Ok(No), Ok(No), Ok(Yes(3))]);
    let seen = expect!(probe, Yes(number) if number > 2);
    assert!(matches!(seen, Yes(3)));
    assert_eq!(probe.looks.get(), 3);
    expect!(fake(&[Ok(Yes(1))]), Yes(0..2) | No);
}

/// The deadline ends it, not before a last look; the failure says what, where and how often.
#[test]
fn fails_at_the_deadline() {
    let (probe, started) = (fake(&[Ok(No)]), Instant::now());
    let failure = failure(|| check(&probe, "Yes(\n    _)", SHORT, |seen| matches!(seen, Yes(_))));
    assert!(started.elapsed() >= SHORT);
    assert_eq!(failure.kind, Kind::Failed);
    assert!(probe.looks.get() >= 2, "{} looks", probe.looks.get());
    assert_eq!((failure.looks, failure.expected.as_str()), (probe.looks.get(), "Yes( _)"));
    let text = failure.to_string();
    for part in ["expect/tests.rs:", "fake: ask", "Yes( _)", "said No", "looks)"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// A last word that does not match fails at once: the silence after it does not make up for it.
#[test]
fn a_last_word_is_not_taken_back() {
    let (probe, started) = (fake(&[Ok(Yes(1)), Ok(No)]), Instant::now());
    let failure = failure(|| check(&probe, "No", PATIENCE, |seen| matches!(seen, No)));
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!((failure.kind, probe.looks.get()), (Kind::Failed, 1));
}

/// Silence does not make up for a refusal that was heard before, which another answer may.
#[test]
fn silence_after_a_refusal_is_none() {
    let probe = fake(&[Ok(No), Ok(Refused), Ok(No)]);
    let failure = failure(|| check(&probe, "No", PATIENCE, |seen| matches!(seen, No) && probe.looks.get() > 1));
    let seen = "said Refused\nand then said No, which does not make up for it";
    assert_eq!((failure.kind, failure.looks, failure.seen.as_str()), (Kind::Failed, 3, seen));
    expect!(fake(&[Ok(Refused), Ok(Yes(1))]), Yes(1));
    expect!(fake(&[Ok(Refused), Ok(No)]).retried(), No);
}

/// Unless it is said that another answer may come.
#[test]
fn a_retried_answer_may_be_followed_by_another() {
    let probe = fake(&[Ok(Yes(1)), Ok(Yes(2))]).retried();
    expect!(probe, Yes(2));
    let probe = fake(&[Ok(Yes(1))]).retried();
    assert_eq!(failure(|| check(&probe, "No", SHORT, |seen| matches!(seen, No))).kind, Kind::Failed);
}

/// A match that proves nothing is an error, not a pass.
#[test]
fn a_match_without_its_control_is_an_error() {
    let probe = Fake { unproven: true, ..fake(&[Ok(No)]) };
    let failure = failure(|| check(&probe, "No", SHORT, |seen| matches!(seen, No)));
    assert_eq!(failure.kind, Kind::Error);
    assert!(failure.to_string().contains("proves nothing: nobody was asked"), "{failure}");
}

/// What cannot be looked at is an error at once; a device that is not there may come, and is a failed claim if it does not.
#[test]
fn an_error_is_not_a_failed_claim() {
    let is_yes = |seen: Said| matches!(seen, Yes(_));
    let broken = failure(|| check(&fake(&[Err(libc::EMFILE)]), "Yes(_)", PATIENCE, is_yes));
    assert_eq!((broken.kind, broken.looks), (Kind::Error, 1));
    assert!(matches!(check(&fake(&[Err(libc::ENODEV), Ok(Yes(1))]), "Yes(_)", SHORT, is_yes), Ok(Yes(1))));
    let missing = failure(|| check(&fake(&[Err(libc::ENODEV)]), "Yes(_)", SHORT, is_yes));
    assert_eq!(missing.kind, Kind::Failed);
    assert!(missing.to_string().contains("No such device"), "{missing}");
    assert_eq!(Kind::of(&Error::Unsupported("VLAN filtering".into())), Kind::Unsupported);
}

/// Labels are shown, outermost first, also from inside a namespace; they end with their code, even by a panic.
#[test]
fn labels_are_shown_where_they_are_in_force() {
    let labelled = || failure(|| check(&fake(&[Ok(Yes(1))]), "No", SHORT, |seen| matches!(seen, No))).given;
    let inside = Namespace::new("inside").unwrap();
    given("rp_filter=1", || {
        given(format_args!("from {}", "netns1"), || {
            assert_eq!(labelled(), ["rp_filter=1", "from netns1"]);
            assert_eq!(inside.run(labelled).unwrap(), ["rp_filter=1", "from netns1"]);
        });
        let _ = catch_unwind(|| given("gone", || panic!("on purpose")));
        assert_eq!(labelled(), ["rp_filter=1"]);
    });
    assert!(labelled().is_empty());
}

/// In a test's process a failure panics with its text.
#[test]
fn a_failure_panics_with_its_text() {
    let panic = catch_unwind(|| expect!(fake(&[Ok(Yes(1))]), No, within: SHORT)).unwrap_err();
    let text = panic.downcast_ref::<String>().expect("the text");
    assert!(text.contains("expectation failed at") && text.contains("said Yes(1)"), "{text}");
    let alone = Namespace::new("alone").unwrap();
    alone.apply(crate::link::set_up("lo")).unwrap();
    let refused = catch_unwind(|| expect!(alone.ping(std::net::Ipv4Addr::LOCALHOST), NoReply)).unwrap_err();
    let text = refused.downcast_ref::<String>().expect("the text");
    assert!(text.ends_with("`.retried()` takes what is seen last"), "{text}");
}

/// A pattern that takes whatever comes is told from one that does not.
#[test]
fn a_pattern_claims_something() {
    for nothing in [
        "_",
        "_n",
        "[..]",
        "[_all @ ..]",
        "_all @ [..]",
        "(_)",
        "_ | NoReply",
        "Yes(1) | _n",
        "..",
        "0..",
        "0u64..",
        "0_usize..",
        "0..=u64::MAX",
        "0 ..= usize :: MAX",
        "..=i64::MAX",
        "(_,)",
        "(_, ..)",
        "(_ | 1, (_, _n))",
        "[.., ]",
        "_ | Of::<A, B>::C",
        "(_ | 1)",
        "&(1 | _n)",
        "Yes(1)\n| _n",
        "&_",
        "& [..]",
        "&&_n",
        "ref _n",
        "mut _n",
        "ref mut _n @ ..",
        "\"a|b\" | _",
    ] {
        assert!(!claims_something(nothing), "{nothing}");
    }
    for something in [
        "Yes(_)",
        "[]",
        "[_, ..]",
        "_n if _n > 0",
        "list if list.len() > 1",
        "Some(_)",
        "1..",
        "\"_\"",
        "\"a|_|b\"",
        "\"a\\\"|_\"",
        "r\"\\\" | r\"|_\"",
        "'|' | '\"'",
        "&1",
        "&[_]",
        "00..",
        "0x1..",
        "..=9",
        "..9",
        "_n @ ..=9",
        "reference",
        "1..=u64::MAX",
        "0..=PATH_MAX",
        "0..=limits::MAX",
        "0..=u64::MAX_OF_MINE",
        "r#\"a\"|_|\"b\"#",
        "(1 | 2)",
        "[_]",
        "[_, _]",
        "(_ | 1, 2)",
        "0..=i64::MAX",
        "0i32..",
        "0_i32..",
        "0_5..",
        "(_, 1 | 2)",
        "(Of::<A, B>::C)",
        "((_, 1),)",
        "0..5",
        "_n @ 1..",
        "Some(_ | 1) | None",
    ] {
        assert!(claims_something(something), "{something}");
    }
}
