//! A conversation that goes on while other things happen.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Deadline, Error, Namespace, Result, Target,
    probe::{Journey, Probe, Seen, Watch, outcome::Heard, ping::Ping, traffic},
};

impl Namespace {
    /// Pings the target again and again, on a thread of its own, until what is returned is dropped: who adds, removes
    /// or reloads something meanwhile learns whether the others noticed. The first reply has come when this returns.
    ///
    /// ```no_run
    /// # use netproof::{Deadline, Namespace, Probe};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// # let (netns1, netns2) = (Namespace::new("netns1")?, Ipv4Addr::new(10, 20, 0, 42));
    /// let talk = netns1.talk_to(netns2)?;
    /// // ... add a third node ...
    /// println!("{}", talk.so_far().look(Deadline::after(Duration::from_secs(5)))?); // 120 requests, 0 lost, ...
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn talk_to(&self, target: impl Into<Target>) -> Result<Talk> {
        Talk::start(self.ping(target), Deadline::after(Duration::from_secs(5)))
    }
}

/// Pings that go on until this is dropped; made by [`Namespace::talk_to`].
#[must_use = "the talk ends when this is dropped"]
pub struct Talk {
    ping: Ping,
    shared: Arc<Shared>,
}

impl Talk {
    fn start(ping: Ping, deadline: Deadline) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let inside = Arc::clone(&shared);
        let started = thread::Builder::new().name("netproof-talk".into()).spawn({
            let ping = ping.clone();
            move || inside.talk(&ping)
        });
        let failed = |error| Error::kernel("starting a thread to talk on", ping.namespace().name(), error);
        started.map_err(failed)?;
        let talk = Self { ping, shared };
        let answered = talk.shared.wait(deadline, |state| state.answered > 0)?.answered > 0;
        if answered { Ok(talk) } else { Err(talk.unanswered(deadline)) }
    }

    /// What has been asked and answered so far, a request that is sent from now on included.
    pub fn so_far(&self) -> SoFar {
        SoFar { ping: self.ping.clone(), shared: Arc::clone(&self.shared) }
    }

    fn unanswered(&self, deadline: Deadline) -> Error {
        let namespace = self.ping.namespace().name().to_owned();
        Error::Timeout {
            doing: format!("waiting for a first reply to {}", self.ping.describe()),
            namespace,
            after: deadline.length(),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sent: usize,
    answered: usize,
    lost: usize,
    longest_gap: Duration,
    last_reply: Option<Instant>,
    failed: Option<Error>,
    over: bool,
}

impl Shared {
    /// Asks and listens in turn until it is over.
    fn talk(&self, ping: &Ping) {
        const PACE: Duration = Duration::from_millis(10);
        loop {
            self.state().sent += 1;
            let outcome = ping.once(Deadline::exactly(traffic::silence()));
            let mut state = self.state();
            match outcome.map(|outcome| outcome.heard) {
                Ok(Heard::Reply { seq: 1, .. }) => state.reply(),
                Ok(_) => state.lost += 1,
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
            let pause = self.changed.wait_timeout_while(state, PACE, |state| !state.over);
            let (state, _) = pause.unwrap_or_else(PoisonError::into_inner);
            if state.over || state.failed.is_some() {
                return;
            }
        }
    }

    /// Waits until something holds, or the deadline passes.
    fn wait(&self, deadline: Deadline, holds: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>> {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), deadline.left(), |state| state.failed.is_none() && !holds(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reply(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last_reply.replace(now) {
            self.longest_gap = self.longest_gap.max(now - last);
        }
        self.answered += 1;
    }
}

/// A look at a conversation; made by [`Talk::so_far`].
#[derive(Clone)]
#[must_use = "the talk is looked at by `look` or `expect!`"]
pub struct SoFar {
    ping: Ping,
    shared: Arc<Shared>,
}

impl Probe for SoFar {
    type Output = Talked;

    fn describe(&self) -> String {
        format!("{}, again and again", self.ping.describe())
    }

    fn look(&self, deadline: Deadline) -> Result<Talked> {
        // The one that is under way may have been sent before what the caller has just done.
        let next = self.shared.state().sent + 1;
        let is_known = |state: &State| state.answered + state.lost >= next;
        let state = self.shared.wait(deadline, |state| state.over || is_known(state))?;
        if !state.over && !is_known(&state) {
            let namespace = self.ping.namespace().name().into();
            return Err(Error::Timeout { doing: self.describe(), namespace, after: deadline.length() });
        }
        Ok(Talked { sent: state.answered + state.lost, lost: state.lost, longest_gap: state.longest_gap })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Next(Arc::clone(&self.shared))))
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.ping.concerned()
    }

    fn last_word(&self, seen: &Talked) -> bool {
        seen.lost > 0
    }

    fn journey(&self) -> Option<Journey> {
        self.ping.journey()
    }
}

struct Next(Arc<Shared>);

impl Watch for Next {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        let before = self.0.state().sent;
        Ok(self.0.wait(deadline, |state| state.sent > before)?.sent > before)
    }
}

/// What came of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talked {
    /// How many requests were sent whose fate is known.
    pub sent: usize,
    /// How many of them found no reply within 250 ms (times the time scale).
    pub lost: usize,
    /// The longest time from one reply to the next.
    pub longest_gap: Duration,
}

impl Seen for Talked {
    type As<'a> = Self;

    fn seen(&self) -> Self {
        *self
    }
}

impl fmt::Display for Talked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = self.longest_gap.as_secs_f64() * 1000.0;
        write!(f, "{} requests, {} lost, {gap:.0} ms at most from reply to reply", self.sent, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        link,
        probe::testing::{look, pair},
    };

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// Nothing is lost while nothing happens; a link that goes down meanwhile shows; an end that is not there is an error.
    #[test]
    fn what_happens_meanwhile_shows() {
        let (a, b) = pair();
        let talk = a.talk_to(Ipv4Addr::new(10, 0, 0, 2)).unwrap();
        let talked = look(&talk.so_far());
        assert_eq!(talked.lost, 0, "{talked}");
        b.apply(link::set_down("b0")).unwrap();
        let talked = look(&talk.so_far());
        assert!(talked.lost > 0, "{talked}");
        drop(talk);

        let (c, _d) = pair();
        c.apply(link::set_down("a0")).unwrap();
        let error = Talk::start(c.ping(Ipv4Addr::new(10, 0, 0, 2)), Deadline::exactly(Duration::from_millis(50)))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("first reply"), "{error}");
    }
}
