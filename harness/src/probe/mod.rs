//! Probes: what the kernel really does, asked from inside a namespace.
//!
//! A probe is made by a method of [`Namespace`], of a [`World`](crate::World), of a child of it or of a tap. It looks once with [`Probe::look`], and prints its
//! result in the columns of the Linux tool for it. [`expect!`](crate::expect!) looks until a pattern holds.

use std::{fmt, net::IpAddr};

use crate::{Deadline, Namespace, Result, Target};

pub mod addresses;
pub mod counters;
pub mod dns;
mod echo;
pub mod endpoint;
pub mod fdb;
pub mod filter;
pub mod forge;
pub mod frame;
pub mod frames;
pub mod http;
mod icmp;
pub mod inject;
pub mod links;
pub mod neighbour;
pub mod outcome;
mod packet;
pub mod ping;
pub mod policy;
pub mod printed;
pub mod processes;
pub mod route_to;
pub mod routes;
pub mod rules;
mod stamps;
pub(crate) mod sys;
pub mod sysctl;
pub mod talk;
pub mod tap;
pub mod target;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;
pub mod udp;

/// Something that can be looked at.
///
/// ```no_run
/// use std::fmt;
/// use netproof::{Deadline, Namespace, Probe, Result, Seen, Watch, expect, watch::Group};
///
/// /// How many routes there are.
/// struct Routes(Namespace);
/// struct Count(usize);
///
/// impl Probe for Routes {
///     type Output = Count;
///     fn describe(&self) -> String {
///         format!("{}: ip route | wc -l", self.0.name())
///     }
///     fn look(&self, _: Deadline) -> Result<Count> {
///         Ok(Count(self.0.routes().list()?.len()))
///     }
///     fn watch(&self) -> Result<Box<dyn Watch>> {
///         Ok(Box::new(self.0.changes(&[Group::Ipv4Route, Group::Ipv6Route])?))
///     }
///     fn concerned(&self) -> Vec<Namespace> {
///         vec![self.0.clone()]
///     }
/// }
/// impl Seen for Count {
///     type As<'a> = usize;
///     fn seen(&self) -> usize {
///         self.0
///     }
/// }
/// impl fmt::Display for Count {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "{} routes", self.0)
///     }
/// }
///
/// expect!(Routes(Namespace::new("alone")?), 0);
/// # Ok::<(), netproof::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no probe, which is what `expect!` looks at",
    note = "a method of a namespace makes one: `host.ping(...)`, `host.lookup(...).server(...)`; `assert!` is for a value"
)]
pub trait Probe {
    /// What a look yields.
    type Output: Seen + fmt::Display;

    /// One line that says what is being looked at, as one would type it: `host: ping -I veth1-0 10.20.30.41`.
    fn describe(&self) -> String;

    /// Looks once. Returns by the deadline, and what sends a packet no later than the time of one silence after it.
    fn look(&self, deadline: Deadline) -> Result<Self::Output>;

    /// Blocks until something may have changed since `watch` was made, or the deadline passes.
    /// The watch is made before the first look, so that no change falls between.
    fn watch(&self) -> Result<Box<dyn Watch>>;

    /// The namespaces whose state belongs to a failure's evidence, nearest first.
    fn concerned(&self) -> Vec<Namespace>;

    /// Whether no later look can take back what was seen: an echo reply came, whatever happens from now on.
    /// [`expect!`](crate::expect!) does not look again after a last word that its pattern does not match, so that no
    /// later silence makes up for it.
    fn last_word(&self, _seen: &Self::Output) -> bool {
        false
    }

    /// Whether what was seen is that something came back, a refusal included (`true`), or that nothing did (`false`); `None`
    /// where that is no question. In [`expect!`](crate::expect!) silence does not make up for what came back to an earlier
    /// look: the second refusal may be held back, or lost.
    fn came_back(&self, _seen: &Self::Output) -> Option<bool> {
        None
    }

    /// Why what was seen proves nothing, if so. Asked once a pattern has matched: no reply from a target that
    /// does not answer itself either; no frames, or at most so many, where no sentinel came by; nothing printed by a program
    /// that runs. `matches` says what else would match.
    fn control<M>(&self, _seen: &Self::Output, _matches: &M) -> Result<Option<String>>
    where
        M: Fn(<Self::Output as Seen>::As<'_>) -> bool,
    {
        Ok(None)
    }

    /// This probe, of which what is seen last counts: [`expect!`](crate::expect!) looks again after an answer, too, and
    /// silence after an answer or a refusal counts.
    ///
    /// ```no_run
    /// # use netproof::Probe;
    /// # let lab = netproof::Lab::of("gateway")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// // A server that says 503 until it is ready.
    /// netproof::expect!(netns1.http((netns2, 80)).get().retried(), Status { code: 200, .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    fn retried(self) -> Retried<Self>
    where
        Self: Sized,
    {
        Retried(self)
    }

    /// Whether what is seen depends on how bridges treat frames: a failure then names the ports that are not as new ones are.
    fn depends_on_ports(&self) -> bool {
        false
    }

    /// Sends once more what a look sends, for an explanation to follow it; less, where a look changes something.
    fn retrace(&self, deadline: Deadline) {
        drop(self.look(deadline));
    }

    /// The packet whose way is walked to explain a failure; none where the probe sends nothing.
    fn journey(&self) -> Option<Journey> {
        None
    }
}

/// A probe of which what is seen last counts; made by [`Probe::retried`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Retried<P>(P);

impl<P: Probe> Probe for Retried<P> {
    type Output = P::Output;

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn look(&self, deadline: Deadline) -> Result<P::Output> {
        self.0.look(deadline)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        self.0.watch()
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.0.concerned()
    }

    fn control<M>(&self, seen: &P::Output, matches: &M) -> Result<Option<String>>
    where
        M: Fn(<P::Output as Seen>::As<'_>) -> bool,
    {
        self.0.control(seen, matches)
    }

    fn depends_on_ports(&self) -> bool {
        self.0.depends_on_ports()
    }

    fn retrace(&self, deadline: Deadline) {
        self.0.retrace(deadline);
    }

    fn journey(&self) -> Option<Journey> {
        self.0.journey()
    }
}

/// A packet that a probe sends: where it starts, and where it is to go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Journey {
    /// Where it starts.
    pub from: Namespace,
    /// Where it is to go.
    pub to: Target,
    /// What it carries.
    pub carries: Carries,
    /// The device that it is bound to (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// The source address, where the probe sets one.
    pub source: Option<IpAddr>,
    /// Its firewall mark, where the probe sets one.
    pub mark: Option<u32>,
    /// The IP packet's length in bytes, and whether it must not be fragmented, where the probe sets them.
    pub whole: Option<usize>,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// An ICMP or ICMPv6 echo request.
    Echo,
    /// A TCP segment to this port.
    Tcp(u16),
    /// A UDP datagram to this port.
    Udp(u16),
}

impl Journey {
    /// A packet with nothing special about it.
    #[must_use]
    pub fn new(from: &Namespace, to: &Target, carries: Carries) -> Self {
        Self { from: from.clone(), to: to.clone(), carries, device: None, source: None, mark: None, whole: None }
    }
}

/// A subscription to the changes that a probe's answer depends on.
pub trait Watch {
    /// Waits for the next change; `false` where the deadline passed without one.
    fn wait(&mut self, deadline: Deadline) -> Result<bool>;
}

/// What a pattern is matched against: a view with `&str` and numbers where the owned value has `String`s.
pub trait Seen {
    /// The view.
    type As<'a>
    where
        Self: 'a;

    /// The value as its view.
    fn seen(&self) -> Self::As<'_>;
}

impl Watch for crate::watch::Changes {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        Self::wait(self, deadline)
    }
}

/// Prints one item a line, or that there is none.
pub(crate) fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return f.write_str("none");
    }
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            writeln!(f)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
