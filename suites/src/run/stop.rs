//! Ending a run early.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc::Sender,
};

use super::ending::Ending;

/// What ends a run early: after the cases under way, or without waiting long for them.
#[derive(Debug, Default)]
pub struct Stop {
    is_set: AtomicBool,
    is_hasty: AtomicBool,
    waiting: Mutex<Vec<Sender<Told>>>,
}

/// What a worker hears while it waits for its case.
pub(super) enum Told {
    /// The case ended.
    Ended(Ending),
    /// The run is to end.
    Stopped,
}

impl Stop {
    /// No further case is started.
    pub fn after_these(&self) {
        self.is_set.store(true, Ordering::SeqCst);
    }

    /// No further case is started, and those under way have a few seconds left.
    pub fn now(&self) {
        self.after_these();
        let mut waiting = self.waiting();
        self.is_hasty.store(true, Ordering::SeqCst);
        for worker in waiting.drain(..) {
            // Who does not listen any more has ended.
            let _ = worker.send(Told::Stopped);
        }
    }

    /// Whether the run is to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Whether somebody wanted it to end before its time.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.is_hasty.load(Ordering::SeqCst)
    }

    /// Tells this worker when the run is to end.
    pub(super) fn tell(&self, worker: &Sender<Told>) {
        let mut waiting = self.waiting();
        if self.is_hasty() {
            let _ = worker.send(Told::Stopped);
        }
        waiting.push(worker.clone());
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Sender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
