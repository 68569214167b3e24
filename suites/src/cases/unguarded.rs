//! Labs without the guard that a case is about: where the attack has to succeed, else its failing proves nothing.

use std::panic::{self, AssertUnwindSafe};

use netproof::{Failure, Lab, Result, expect::Kind, given};

/// Plays an attack on a topology that the built-in implementation has built, and whose firewall rules were then flushed.
///
/// What fails in here says nothing of the implementation under test: the attack is none, which is an error of the case.
pub(super) fn unguarded(topology: &str, attack: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let mut lab = Lab::of(topology)?;
    lab.host().firewall().flush()?;
    let played = panic::catch_unwind(AssertUnwindSafe(|| {
        given(format!("the attack without the guard: native's {topology}, its rules flushed"), || attack(&mut lab))
    }));
    played.unwrap_or_else(|payload| match payload.downcast::<Failure>() {
        Ok(mut failure) => {
            failure.kind = Kind::Error;
            panic::resume_unwind(failure)
        }
        Err(other) => panic::resume_unwind(other),
    })
}
