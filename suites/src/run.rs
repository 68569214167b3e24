//! Trying cases on implementations.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use netproof::{Deadline, Error, Failure, Lab, Topology, expect::Kind, implement::Shared, protocol::Description};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, Level, Start},
    stage::Stage,
    suite::all_cases,
};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many labs stand at once.
    pub jobs: usize,
    /// How long one case may take, before scaling.
    pub timeout: Duration,
    /// Stop at the first failure of at least this level.
    pub fail_fast: Option<Level>,
}

/// Who is graded.
#[derive(Clone)]
pub struct Subject {
    /// What it says of itself.
    pub description: Description,
    /// How it is asked.
    pub implementation: Shared,
    /// The driver's path, where it is one.
    pub driver: Option<PathBuf>,
}

/// One case on one topology.
#[derive(Clone, Debug)]
pub struct Item {
    /// The case.
    pub case: &'static Case,
    /// The topology.
    pub topology: Topology,
}

/// What came of one item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The case's id.
    pub id: String,
    /// The topology's name.
    pub topology: String,
    /// The case's level.
    pub level: Level,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took, the lab included, in milliseconds.
    pub ms: f64,
    /// One line that says why, where it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// All that is known of it, where it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The claim holds.
    Pass,
    /// It does not.
    Fail,
    /// It does not, and the deviations list it.
    Known,
    /// The implementation, or this kernel, does not have what it is about.
    Unsupported,
    /// It could not be found out.
    Error,
}

/// Every case on every topology that the shipped suites have.
#[must_use]
pub fn all_items() -> Vec<Item> {
    let shipped = |name: &str| Topology::shipped(name).expect("a test finds every topology that a case names");
    all_cases().flat_map(|case| case.on.iter().map(move |name| Item { case, topology: shipped(name) })).collect()
}

/// Tries every item on the subject, `jobs` at a time, and returns the outcomes in the items' order. `told` hears of each
/// as it ends; `stop` ends the run early, with what was done so far.
pub fn grade(
    subject: &Subject,
    items: &[Item],
    options: &Options,
    stop: &AtomicBool,
    told: &(dyn Fn(&Outcome) + Sync),
) -> Vec<Outcome> {
    netproof::expect::as_values(true);
    // What a case panics with is in its outcome; nothing of it goes to the terminal while a bar is there.
    panic::set_hook(Box::new(|_| {}));
    let queue: Mutex<VecDeque<(usize, &Item)>> = Mutex::new(items.iter().enumerate().collect());
    let done: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && let Some((place, item)) = next()
                {
                    let outcome = try_one(subject, item, options.timeout);
                    told(&outcome);
                    if outcome.verdict == Verdict::Fail && options.fail_fast.is_some_and(|level| outcome.level >= level)
                    {
                        stop.store(true, Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Tries one case on one topology in a lab of its own.
pub fn try_one(subject: &Subject, item: &Item, timeout: Duration) -> Outcome {
    let start = Instant::now();
    let (verdict, reason, evidence) = match within(subject, item, timeout) {
        Ending::Held => (Verdict::Pass, None, None),
        Ending::Not(verdict, reason, evidence) => (verdict, Some(reason), Some(evidence)),
    };
    Outcome {
        id: item.case.id.to_owned(),
        topology: item.topology.name.clone(),
        level: item.case.level,
        verdict,
        ms: (start.elapsed().as_secs_f64() * 1e4).round() / 10.0,
        reason,
        evidence,
    }
}

enum Ending {
    Held,
    Not(Verdict, String, String),
}

/// Runs the item on a thread of its own, which is left behind where it does not end in time.
fn within(subject: &Subject, item: &Item, timeout: Duration) -> Ending {
    let (tell, hear) = mpsc::channel();
    let (subject, item) = (subject.clone(), item.clone());
    let name = item.case.id.to_owned();
    let spawned = thread::Builder::new().name(name).spawn(move || {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| attempt(&subject, &item)));
        let _ = tell.send(match ended {
            Ok(Ok(())) => Ending::Held,
            Ok(Err(error)) => of_error(&error),
            Err(payload) => of_panic(payload.as_ref()),
        });
    });
    if let Err(error) = spawned {
        return Ending::Not(Verdict::Error, format!("starting a thread: {error}"), String::new());
    }
    hear.recv_timeout(Deadline::after(timeout).length()).unwrap_or_else(|_| {
        let reason = format!("the case did not end within {} s", Deadline::after(timeout).length().as_secs());
        Ending::Not(Verdict::Error, reason, "raise --timeout, or --time-scale on a slow machine".into())
    })
}

fn attempt(subject: &Subject, item: &Item) -> netproof::Result<()> {
    if !subject.description.claims(&item.topology.name) {
        let why = subject.description.missing.as_ref().map(|how| format!("; it is not installed: {how}"));
        let message =
            format!("{} does not build `{}`{}", subject.description.name, item.topology.name, why.unwrap_or_default());
        return Err(Error::Unsupported(message));
    }
    let mut lab = Lab::builder(item.topology.clone()).implementation(subject.implementation.clone()).prepare()?;
    if item.case.start == Start::Built {
        lab.up()?;
    }
    (item.case.run)(&mut Stage::new(lab, subject.description.clone()))
}

fn of_error(error: &Error) -> Ending {
    let verdict = match error {
        Error::Unsupported(_) => Verdict::Unsupported,
        Error::Implementation { .. } | Error::ReadBack(_) => Verdict::Fail,
        _ => Verdict::Error,
    };
    let text = error.to_string();
    Ending::Not(verdict, text.lines().next().unwrap_or_default().to_owned(), text)
}

fn of_panic(payload: &(dyn Any + Send)) -> Ending {
    if let Some(failure) = payload.downcast_ref::<Failure>() {
        let verdict = match failure.kind {
            Kind::Failed => Verdict::Fail,
            Kind::Unsupported => Verdict::Unsupported,
            Kind::Error => Verdict::Error,
        };
        return Ending::Not(verdict, failure.reason(), failure.to_string());
    }
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
    let text = text.unwrap_or_else(|| "a panic without a message".into());
    Ending::Not(Verdict::Error, text.lines().next().unwrap_or_default().to_owned(), text)
}

/// For `cargo test`: the case with this id on this topology, against the built-in implementation.
///
/// # Panics
/// Where the claim does not hold, with the whole story; and where it cannot be tried.
#[track_caller]
pub fn claim(id: &str, topology: &str) {
    let case = all_cases().find(|case| case.id == id).unwrap_or_else(|| panic!("no case has the id `{id}`"));
    let topology = Topology::shipped(topology).unwrap_or_else(|error| panic!("{error}"));
    let implementation: Shared = std::sync::Arc::new(netproof::implement::Native::default());
    let subject = Subject { description: crate::shipped::native_description(), implementation, driver: None };
    match attempt(&subject, &Item { case, topology }) {
        Ok(()) => {}
        // This kernel does not have what the claim is about: `netproof run` counts and shows it.
        Err(Error::Unsupported(why)) => eprintln!("unsupported: {why}"),
        Err(error) => panic!("{error}"),
    }
}
