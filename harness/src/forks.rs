//! Forks of this process, while they hold copies of its descriptors.
//!
//! A child has every descriptor of its parent until it closes them or becomes another program. On a busy machine that
//! takes a while, and for so long a socket that was closed here is still open, and its port taken.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

static FORKS: RwLock<()> = RwLock::new(());

/// To be held from before a fork until the child has let go of what it inherits.
pub(crate) fn forking() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the forks under way: what was closed before is closed for good once this returns.
pub(crate) fn closed_for_good() {
    drop(FORKS.write().unwrap_or_else(PoisonError::into_inner));
}
