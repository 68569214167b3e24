//! Panics of cases: kept off the terminal, and remembered where they happened.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
    thread,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `code`; a panic in it is the value, and is printed nowhere.
pub(super) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    be_quiet_where_caught();
    let before = CATCHING.replace(true);
    let ended = panic::catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(before);
    ended
}

/// Where the calling thread panicked last.
pub(super) fn last() -> Option<String> {
    LAST.take()
}

fn be_quiet_where_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // What panics inside a namespace is passed on to who waits for it.
            if CATCHING.get() || thread::current().name() == Some("netproof-inside") {
                LAST.set(info.location().map(ToString::to_string));
            } else {
                loud(info);
            }
        }));
    });
}
