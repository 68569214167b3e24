//! Trying cases on implementations.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use netproof::{Topology, implement::Shared, protocol::Description};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, Level},
    suite::all_cases,
};

mod attempt;
mod ending;
mod kernel;
mod panics;
mod stop;
mod watched;

pub(crate) use self::attempt::unclaimed_reason;
use self::{attempt::Attempt, ending::Ending};
pub use self::{
    attempt::{claim, try_and_keep, try_one},
    stop::Stop,
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

impl Subject {
    /// That it is not installed, and how it is; where it is not.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let Description { name, missing, .. } = &self.description;
        missing.as_ref().map(|how| format!("{name} is not installed: {how}"))
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The hop where a packet went missing, and why; where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// All that is known of it, where it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

impl Outcome {
    /// The name of its case's suite.
    #[must_use]
    pub fn suite(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
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
    items_on(|_| true)
}

/// Those on the topologies that are wanted.
pub(crate) fn items_on(is_wanted: impl Fn(&str) -> bool) -> Vec<Item> {
    let shipped = |name: &str| Topology::shipped(name).expect("a test finds every topology that a case names");
    let pairs = all_cases().flat_map(|case| case.on.iter().map(move |name| (case, *name)));
    pairs.filter(|(_, name)| is_wanted(name)).map(|(case, name)| Item { case, topology: shipped(name) }).collect()
}

/// Tries every item on the subject, `jobs` at a time, and returns the outcomes in the items' order. `told` hears of each
/// as it ends; `stop` ends the run early, with what was done so far.
///
/// Where `up` of a topology fails, all its cases do: those to come are not tried, and those that passed before did so
/// by luck.
pub fn grade(
    subject: &Subject,
    items: &[Item],
    options: &Options,
    stop: &Stop,
    told: &(dyn Fn(&Outcome) + Sync),
) -> Vec<Outcome> {
    let run = Run {
        subject,
        options,
        stop,
        told,
        queue: Mutex::new(items.iter().enumerate().collect()),
        done: Mutex::new(BTreeMap::new()),
        broken: Mutex::new(BTreeMap::new()),
    };
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| run.work());
        }
    });
    let broken = run.broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    let done = run.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().map(|outcome| by_luck(outcome, &broken)).collect()
}

struct Run<'a> {
    subject: &'a Subject,
    options: &'a Options,
    stop: &'a Stop,
    told: &'a (dyn Fn(&Outcome) + Sync),
    queue: Mutex<VecDeque<(usize, &'a Item)>>,
    done: Mutex<BTreeMap<usize, Outcome>>,
    /// The topologies whose `up` failed, and how.
    broken: Mutex<BTreeMap<String, Ending>>,
}

impl Run<'_> {
    fn work(&self) {
        while !self.stop.is_set()
            && let Some((place, item)) = self.next()
        {
            let Some(outcome) = self.outcome(item) else { return };
            (self.told)(&outcome);
            let counts = |level| outcome.level >= level;
            if outcome.verdict == Verdict::Fail && self.options.fail_fast.is_some_and(counts) {
                self.stop.after_these();
            }
            self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(place, outcome);
        }
    }

    fn next(&self) -> Option<(usize, &Item)> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// What came of the item; `None` where the run was stopped before it ended.
    fn outcome(&self, item: &Item) -> Option<Outcome> {
        let broken = || self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ending) = broken().get(&item.topology.name) {
            return Some(ending.clone().outcome(item, Duration::ZERO));
        }
        let attempt = Attempt::new(self.subject, item);
        let (ending, took) = attempt.within(self.options.timeout, self.stop)?;
        if attempt.is_up_broken() {
            broken().entry(item.topology.name.clone()).or_insert_with(|| ending.clone());
        }
        Some(ending.outcome(item, took))
    }
}

fn by_luck(outcome: Outcome, broken: &BTreeMap<String, Ending>) -> Outcome {
    match broken.get(&outcome.topology) {
        Some(Ending::Not { reason, cause, evidence, .. }) if outcome.verdict == Verdict::Pass => {
            let reason = Some(format!("it held in this lab, but not every `up` succeeds: {reason}"));
            let (cause, evidence) = (cause.clone(), Some(evidence.clone()));
            Outcome { verdict: Verdict::Fail, reason, cause, evidence, ..outcome }
        }
        _ => outcome,
    }
}

#[cfg(test)]
mod tests;
