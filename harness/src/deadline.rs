//! Deadlines, and the one setting that scales them all.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// A point in time by which something is to have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    end: Instant,
}

/// [`Deadline::after`].
impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}

impl Deadline {
    /// `duration` from now, times the [`time_scale`].
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self::exactly(duration.mul_f64(time_scale()))
    }

    /// `duration` from now, whatever the time scale: for waits whose length the kernel fixes.
    #[must_use]
    pub fn exactly(duration: Duration) -> Self {
        let start = Instant::now();
        Self { start, end: start + duration }
    }

    /// What is left, zero once it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Its whole length.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.end - self.start
    }

    /// Waits until the descriptor has one of these events, or has failed; tells which. None: the deadline passed.
    pub(crate) fn poll(self, fd: &impl AsFd, events: PollFlags) -> io::Result<PollFlags> {
        loop {
            let mut fds = [PollFd::new(fd.as_fd(), events)];
            // Rounded up: a poll of 0 ms in the last millisecond would spin.
            let left = PollTimeout::try_from(self.left().as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, left) {
                Ok(0) if !self.passed() => {}
                Ok(_) => return Ok(fds[0].revents().unwrap_or(PollFlags::empty())),
                Err(Errno::EINTR) if self.passed() => return Ok(PollFlags::empty()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The earlier of this and `duration` (scaled) from now.
    #[must_use]
    pub fn at_most(&self, duration: Duration) -> Self {
        let other = Self::after(duration);
        if other.end < self.end { other } else { *self }
    }
}

/// The factor that every deadline is multiplied by, in thousandths; 0: not yet read from the environment.
static SCALE: AtomicU32 = AtomicU32::new(0);

/// The factor that every deadline is multiplied by: 1, unless `NETPROOF_TIME_SCALE` or [`set_time_scale`] says otherwise.
///
/// Raise it on slow (emulated, overloaded) machines; no case needs editing.
///
/// # Panics
/// Where `NETPROOF_TIME_SCALE` is no number.
#[must_use]
pub fn time_scale() -> f64 {
    if SCALE.load(Ordering::Relaxed) == 0 {
        let said = std::env::var("NETPROOF_TIME_SCALE").ok().map(|text| match text.parse::<f64>() {
            Ok(factor) if factor.is_finite() => factor,
            _ => panic!("NETPROOF_TIME_SCALE is `{text}`, which is no number: say 4 for four times as long"),
        });
        set_time_scale(said.unwrap_or(1.0));
    }
    f64::from(SCALE.load(Ordering::Relaxed)) / 1000.0
}

/// Sets the [`time_scale`] of this process; values below 0.1 and above 1,000 are brought to these bounds.
pub fn set_time_scale(factor: f64) {
    let factor = if factor.is_nan() { 1.0 } else { factor.clamp(0.1, 1000.0) };
    let thousandths = (factor * 1000.0) as u32;
    SCALE.store(thousandths, Ordering::Relaxed);
}
