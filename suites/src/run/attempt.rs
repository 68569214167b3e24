//! One case on one topology, in a lab of its own.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use netproof::{Deadline, Error, Lab, Result, Topology};

use super::{Item, Outcome, Stop, Subject, Verdict, ending::Ending, kernel, panics, stop::Told, watched::Watched};
use crate::{case::Start, shipped, stage::Stage, suite::all_cases};

/// How long a case under way may still take once the run is to end at once.
const GRACE: Duration = Duration::from_secs(5);

/// Tries one case on one topology in a lab of its own.
#[must_use]
pub fn try_one(subject: &Subject, item: &Item, timeout: Duration) -> Outcome {
    let ended = Attempt::new(subject, item).within(timeout, &Stop::default());
    let (ending, took) = ended.expect("nobody else has the stop, so that nothing ends it early");
    ending.outcome(item, took)
}

/// Tries one case on one topology, however long it takes, and keeps the lab as the case left it; `None` where it came to
/// none.
pub fn try_and_keep(subject: &Subject, item: &Item) -> (Outcome, Option<Stage>) {
    let start = Instant::now();
    let (ending, stage) = Attempt::new(subject, item).kept();
    (ending.outcome(item, start.elapsed()), stage)
}

/// For `cargo test`: the case with this id on this topology, against the built-in implementation.
///
/// # Panics
/// Where the claim does not hold, with the whole story; and where it cannot be tried. Where this kernel does not have
/// what the claim is about, it says so on standard error, which the test harness does not swallow; with
/// `NETPROOF_ALL=1` in the environment that is a panic too.
#[track_caller]
pub fn claim(id: &str, topology: &str) {
    let case = all_cases().find(|case| case.id == id).unwrap_or_else(|| panic!("no case has the id `{id}`"));
    let item = Item { case, topology: Topology::shipped(topology).unwrap_or_else(|error| panic!("{error}")) };
    match Attempt::new(&shipped::native(), &item).ending() {
        Ending::Held => {}
        Ending::Not { verdict: Verdict::Unsupported, reason, .. } if std::env::var_os("NETPROOF_ALL").is_none() => {
            let _ = writeln!(std::io::stderr(), "unsupported: {id} on {topology}: {reason}");
        }
        Ending::Not { evidence, .. } => panic!("{evidence}"),
    }
}

/// One try.
#[derive(Clone)]
pub(super) struct Attempt {
    subject: Subject,
    item: Item,
    watched: Arc<Watched>,
    is_up_broken: Arc<AtomicBool>,
}

/// Why nothing is tried on a topology that an implementation does not claim.
pub(crate) fn unclaimed_reason(name: &str, topology: &str) -> String {
    format!("{name} does not build `{topology}`")
}

impl Attempt {
    pub(super) fn new(subject: &Subject, item: &Item) -> Self {
        Self {
            subject: subject.clone(),
            item: item.clone(),
            watched: Watched::new(&subject.implementation, &subject.description),
            is_up_broken: Arc::default(),
        }
    }

    /// Whether the implementation failed to build the topology in a lab in which nothing was in its way.
    pub(super) fn is_up_broken(&self) -> bool {
        self.is_up_broken.load(Ordering::SeqCst)
    }

    /// Tries it on a thread of its own, which is left behind where it does not end in time. `None` where the run was
    /// stopped before it ended.
    pub(super) fn within(&self, timeout: Duration, stop: &Stop) -> Option<(Ending, Duration)> {
        let start = Instant::now();
        let (tell, hear) = mpsc::channel();
        stop.tell(&tell);
        let attempt = self.clone();
        let spawned = thread::Builder::new().name(self.item.case.id.into()).spawn(move || {
            let ending = attempt.ending();
            let _ = tell.send(Told::Ended(ending));
        });
        if let Err(error) = spawned {
            return Some((Ending::not(Verdict::Error, format!("starting a thread: {error}")), start.elapsed()));
        }
        let mut deadline = Deadline::after(timeout);
        loop {
            match hear.recv_timeout(deadline.left()) {
                Ok(Told::Ended(ending)) => return Some((ending, start.elapsed())),
                Ok(Told::Stopped) => deadline = deadline.at_most(GRACE),
                Err(_) if stop.is_hasty() => return None,
                Err(RecvTimeoutError::Timeout) => return Some((self.late(timeout), start.elapsed())),
                Err(RecvTimeoutError::Disconnected) => {
                    return Some((Ending::not(Verdict::Error, "the case's thread ended unheard"), start.elapsed()));
                }
            }
        }
    }

    fn ending(&self) -> Ending {
        self.kept().0
    }

    /// What came of it, and where.
    fn kept(&self) -> (Ending, Option<Stage>) {
        netproof::expect::as_values(true);
        let mut stage = None;
        let ending = match panics::caught(|| self.run(stage.insert(self.prepared()?))) {
            Ok(Ok(())) => Ending::Held,
            Ok(Err(error)) => Ending::of_error(&error),
            Err(payload) => Ending::of_panic(payload.as_ref()),
        };
        (ending, stage)
    }

    /// The lab, in which nothing is built.
    fn prepared(&self) -> Result<Stage> {
        let Subject { description, .. } = &self.subject;
        let Item { case, topology } = &self.item;
        if let Some(missing) = self.subject.missing() {
            return Err(Error::Unsupported(missing));
        }
        if !description.claims(&topology.name) && case.start != Start::Unclaimed {
            return Err(Error::Unsupported(unclaimed_reason(&description.name, &topology.name)));
        }
        kernel::carries(topology)?;
        let lab = Lab::builder(topology.clone()).implementation(self.watched.clone()).prepare()?;
        Ok(Stage::new(lab, description.clone(), self.watched.clone()))
    }

    fn run(&self, stage: &mut Stage) -> Result<()> {
        let case = self.item.case;
        if case.start == Start::Built {
            stage.up().inspect_err(|error| {
                let is_its_fault = matches!(error, Error::Implementation { .. } | Error::ReadBack(_));
                self.is_up_broken.store(is_its_fault, Ordering::SeqCst);
            })?;
        }
        (case.run)(stage)
    }

    /// What a case that did not end says of whoever was at work.
    fn late(&self, timeout: Duration) -> Ending {
        let seconds = Deadline::after(timeout).length().as_secs_f64();
        match self.watched.at_work() {
            Some(verb) => {
                let name = &self.subject.description.name;
                Ending::not(Verdict::Fail, format!("{name}: {verb}: did not end within the case's {seconds} s"))
            }
            None => Ending::not(
                Verdict::Error,
                format!(
                    "the case did not end within {seconds} s\ntry: a higher --timeout, or --time-scale on a slow machine"
                ),
            ),
        }
    }
}
