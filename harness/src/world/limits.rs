//! How many files a process may have open.

use std::sync::{Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limits that this process began with: soft and hard.
static BEFORE: Mutex<Option<(u64, u64)>> = Mutex::new(None);

/// Raises this process's limit as far as it goes: a run of many labs at once holds some ten descriptors for each.
pub(crate) fn raise() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.is_none()
        && let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
    {
        // Where it is refused, the error of the first open that fails says what to do.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        *before = Some((soft, hard));
    }
}

/// What programs are given: the limits as they were, for who uses select(2), or closes every descriptor that it may have.
pub(super) fn descriptors() -> Option<(u64, u64)> {
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}
