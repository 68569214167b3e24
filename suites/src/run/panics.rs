//! Panics of cases: kept off the terminal, and remembered where they happened.

use std::{cell::RefCell, panic, sync::Once, thread};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics of every thread but the main one remembered instead of printed: they are in their case's outcome.
pub(super) fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some("main") {
                return loud(info);
            }
            LAST.set(info.location().map(ToString::to_string));
        }));
    });
}

/// Where the calling thread panicked last.
pub(super) fn last() -> Option<String> {
    LAST.take()
}
