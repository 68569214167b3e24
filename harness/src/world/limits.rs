//! How many files a process may have open.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limits that this process began with: soft and hard.
static BEFORE: OnceLock<Option<(u64, u64)>> = OnceLock::new();

/// Raises this process's limit as far as it goes: a run of many labs at once holds some ten descriptors for each.
pub(crate) fn raise() {
    BEFORE.get_or_init(|| {
        let before = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        // Where it is refused, the error of the first open that fails says what to do.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, before.1, before.1);
        Some(before)
    });
}

/// What programs are given: the limits as they were, for who uses select(2), or closes every descriptor that it may have.
pub(super) fn descriptors() -> Option<(u64, u64)> {
    BEFORE.get().copied().flatten()
}
