//! Expectations: look until a pattern holds, or a deadline passes.
//!
//! [`expect!`](crate::expect!) takes a probe and a Rust pattern for what the probe shall see. A look that does not
//! match is followed by another as soon as something has changed. What fails panics with all that one would ask for
//! next; a runner that catches it asks for the [`Failure`] itself by [`as_values`].

use std::{
    fmt,
    panic::{self, Location},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{Deadline, Error, Probe, Result, Seen};

mod failure;
pub mod names;
mod pattern;

#[doc(hidden)]
pub use self::pattern::claims_something;

pub use self::failure::{Failure, Kind};
pub use crate::labels::Labels;

/// How long an expectation is given to come true, unless it says `within:`; times the [`time_scale`](crate::time_scale).
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Looks by a probe until what is seen matches a pattern; panics with a [`Failure`] where that does not come true in time.
///
/// `expect!(PROBE, PATTERN)`, `expect!(PROBE, PATTERN if GUARD)`, each with `, within: DURATION` where 5 s are not right.
/// Patterns see `&str` and numbers, and the names of [`names`] are in scope in them: a misspelt one does not compile.
/// Lists are seen as slices of what they are lists of: `expect!(host.routes(), list if list.iter().any(|route| ...))`, and
/// a pattern for one element names its type by its module: `[state::Address { dynamic: false, .. }, ..]`, after
/// `use netproof::state`.
/// The value is what was seen.
///
/// It looks again while there is silence, or a state of the kernel's that may change. An answer is a last word
/// ([`Probe::last_word`]): an echo reply, an HTTP status or a name server's reply that the pattern does not match fails at
/// once, as a later one would not make up for it. A refusal is no last word, as a server may come yet; but no silence
/// after it counts: what came back once may be held back, or lost, the second time. Of a server that is still starting,
/// and of one that is about to leave, say [`Probe::retried`], for which only what is seen last counts.
///
/// ```no_run
/// use std::net::Ipv4Addr;
/// use netproof::{Namespace, expect};
/// let alone = Namespace::new("alone")?;
/// let limit = 5.0;
/// expect!(alone.ping(Ipv4Addr::LOCALHOST), LocalError { name: "ENETUNREACH", .. });
/// alone.apply(netproof::link::set_up("lo"))?;
/// expect!(alone.ping(Ipv4Addr::LOCALHOST), Reply { ttl: 64, rtt_ms, .. } if rtt_ms < limit);
/// # Ok::<(), netproof::Error>(())
/// ```
///
/// A name that does not exist is no pattern that matches everything:
///
/// ```compile_fail
/// # let alone = netproof::Namespace::new("alone")?;
/// netproof::expect!(alone.ping(std::net::Ipv4Addr::LOCALHOST), NoRepyl);
/// # Ok::<(), netproof::Error>(())
/// ```
///
/// Nor is a binding that nobody reads:
///
/// ```compile_fail
/// # let alone = netproof::Namespace::new("alone")?;
/// netproof::expect!(alone.ping(std::net::Ipv4Addr::LOCALHOST), nothing);
/// # Ok::<(), netproof::Error>(())
/// ```
///
/// Nor one that takes whatever comes:
///
/// ```compile_fail
/// # let alone = netproof::Namespace::new("alone")?;
/// netproof::expect!(alone.ping(std::net::Ipv4Addr::LOCALHOST), _nothing);
/// # Ok::<(), netproof::Error>(())
/// ```
#[macro_export]
macro_rules! expect {
    ($probe:expr, $pattern:pat $(if $guard:expr)? $(,)?) => {
        $crate::expect!($probe, $pattern $(if $guard)?, within: $crate::expect::PATIENCE)
    };
    ($probe:expr, $pattern:pat $(if $guard:expr)?, within: $within:expr $(,)?) => {
        match (&$probe, $within) {
            (probe, within) => {
                const _: () = assert!(
                    $crate::expect::claims_something(concat!(stringify!($pattern) $(, " if ", stringify!($guard))?)),
                    "this pattern matches whatever is seen: say what is to be seen"
                );
                #[allow(unused_imports)]
                use $crate::expect::names::*;
                #[deny(non_snake_case, unused_variables, bindings_with_variant_name)]
                #[allow(unreachable_patterns)]
                let seen = $crate::expect::hold(
                    probe,
                    concat!(stringify!($pattern) $(, " if ", stringify!($guard))?),
                    within,
                    |seen| match seen {
                        $pattern $(if $guard)? => true,
                        _ => false,
                    },
                );
                seen
            }
        }
    };
}

/// Runs `code` under a label, which a failure inside it shows: `given("rp_filter=1", || ...)`.
///
/// Labels nest, and are in force in [`Namespace::run`](crate::Namespace::run) too.
///
/// ```no_run
/// use netproof::{Lab, expect, given};
/// let lab = Lab::of("gateway")?;
/// for mode in ["0", "1", "2"] {
///     lab.host().set_sysctl("net.ipv4.conf.all.rp_filter", mode)?;
///     given(format!("rp_filter={mode}"), || expect!(lab.host().ping(lab.node("netns1")), Reply { .. }));
/// }
/// # Ok::<(), netproof::Error>(())
/// ```
pub fn given<T>(label: impl fmt::Display, code: impl FnOnce() -> T) -> T {
    Labels::current().and(label.to_string()).during(code)
}

static AS_VALUES: AtomicBool = AtomicBool::new(false);

/// Sets whether a failed expectation panics with the [`Failure`] itself as its payload (for a runner, which catches it),
/// or with its text, as a test's process needs it. For the whole process.
pub fn as_values(on: bool) {
    AS_VALUES.store(on, Ordering::Relaxed);
}

/// What [`expect!`](crate::expect!) calls: looks until `matches`, or panics.
#[track_caller]
pub fn hold<P, M>(probe: &P, pattern: &str, within: Duration, matches: M) -> P::Output
where
    P: Probe,
    M: Fn(<P::Output as Seen>::As<'_>) -> bool,
{
    // No closure, which would hide the caller's place.
    match check(probe, pattern, within, matches) {
        Ok(seen) => seen,
        Err(failure) => failure.raise(),
    }
}

/// Looks until `matches`: what [`expect!`](crate::expect!) does, with the failure as a value.
#[track_caller]
pub fn check<P, M>(probe: &P, pattern: &str, within: Duration, matches: M) -> Result<P::Output, Box<Failure>>
where
    P: Probe,
    M: Fn(<P::Output as Seen>::As<'_>) -> bool,
{
    let at = Location::caller();
    let mut looks = 0;
    look_until(probe, Deadline::after(within), &matches, &mut looks)
        .map_err(|why| Box::new(Failure::new(at, probe, pattern, within, looks, why)))
}

/// Why an expectation did not come true.
enum Why<O> {
    /// What was seen last is something else.
    Seen(O),
    /// What was seen is something else, and no later look would count.
    LastWord(O),
    /// The silence that was seen last matches, and what came back before it does not.
    TooLate { before: O, silence: O },
    /// What was seen matches, but proves nothing.
    Unproven(O, String),
    /// It could not be looked at.
    Error(Error),
}

fn look_until<P, M>(probe: &P, deadline: Deadline, matches: &M, looks: &mut usize) -> Result<P::Output, Why<P::Output>>
where
    P: Probe,
    M: Fn(<P::Output as Seen>::As<'_>) -> bool,
{
    // What tells nobody that it changed (a counter, a packet on the way) is looked at again after this.
    const ANYWAY: Duration = Duration::from_millis(200);
    let mut watch = probe.watch().map_err(Why::Error)?;
    let (mut before, mut tables, mut heard) = (None, None, None);
    loop {
        // A look that starts after the deadline is the last.
        let last = deadline.passed();
        *looks += 1;
        match (probe.look(deadline), before.take()) {
            (Ok(seen), _) if matches(seen.seen()) => {
                return match heard {
                    Some(heard) if probe.came_back(&seen) == Some(false) => {
                        Err(Why::TooLate { before: heard, silence: seen })
                    }
                    _ => proven(probe, matches, seen),
                };
            }
            (Ok(seen), _) if last && tables.is_some() && fulls(probe) > tables => {
                return Err(Why::Unproven(seen, FULL.into()));
            }
            (Ok(seen), _) if probe.last_word(&seen) => return Err(Why::LastWord(seen)),
            (Ok(seen), _) if last => return Err(Why::Seen(seen)),
            (Ok(seen), _) => {
                tables = tables.or_else(|| fulls(probe));
                match probe.came_back(&seen) {
                    Some(true) if heard.is_none() => heard = Some(seen),
                    _ => before = Some(seen),
                }
            }
            // The deadline cut this look short: what the one before saw is what is known.
            (Err(Error::Timeout { .. } | Error::NoBroadcast { .. }), Some(seen)) if deadline.passed() => {
                return Err(Why::Seen(seen));
            }
            (Err(error), _) if last || !may_come(&error) => return Err(Why::Error(error)),
            (Err(_), _) => {}
        }
        watch.wait(deadline.at_most(ANYWAY)).map_err(Why::Error)?;
    }
}

/// How often the machine's tables of neighbours were full, where that can be asked.
fn fulls(probe: &impl Probe) -> Option<u64> {
    probe.concerned().first()?.neighbour_table_fulls().ok()
}

/// A packet is lost then, wherever on its way a neighbour was to be found, and nobody is told.
const FULL: &str = "meanwhile the machine had no room for a neighbour, in a table that all of its namespaces share: run \
                    fewer labs at once, or raise `sysctl -w net.ipv4.neigh.default.gc_thresh3=8192` (and net.ipv6)";

fn proven<P, M>(probe: &P, matches: &M, seen: P::Output) -> Result<P::Output, Why<P::Output>>
where
    P: Probe,
    M: Fn(<P::Output as Seen>::As<'_>) -> bool,
{
    match probe.control(&seen, matches) {
        Ok(None) => Ok(seen),
        Ok(Some(reason)) => Err(Why::Unproven(seen, reason)),
        Err(error) => Err(Why::Error(error)),
    }
}

/// A device that is not there is a state of the lab, which may change, and no fault of the harness.
fn may_come(error: &Error) -> bool {
    matches!(error, Error::Kernel { source, .. } if source.raw_os_error() == Some(libc::ENODEV))
}

impl Failure {
    /// Panics: with the text, or with this as the payload where [`as_values`] is on.
    #[track_caller]
    pub fn raise(self: Box<Self>) -> ! {
        if AS_VALUES.load(Ordering::Relaxed) {
            panic::panic_any(*self)
        }
        let note = if self.may_be_retried {
            "\n  note: what came back counts, whatever is seen after it; `.retried()` takes what is seen last"
        } else {
            ""
        };
        panic!("{self}{note}")
    }
}

#[cfg(test)]
mod tests;
