//! Probes: what the kernel really does, asked from inside a namespace.
//!
//! Each probe is made by a method of [`Namespace`](crate::Namespace), looks once with [`Probe::look`], and prints its
//! result in the columns of the Linux tool for it. [`expect!`](crate::expect!) looks until a pattern holds.

use std::fmt;

use crate::{Deadline, Namespace, Result};

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
pub mod route_to;
pub mod routes;
pub mod rules;
mod sys;
pub mod sysctl;
pub mod talk;
pub mod tap;
pub mod target;
pub mod tcp;
#[cfg(test)]
mod testing;
mod traffic;
pub mod udp;

/// Something that can be looked at.
pub trait Probe {
    /// What a look yields.
    type Output: Seen + fmt::Display;

    /// One line that says what is being looked at, as one would type it: `host: ping -I veth1-0 10.20.30.41`.
    fn describe(&self) -> String;

    /// Looks once. Returns by the deadline.
    fn look(&self, deadline: Deadline) -> Result<Self::Output>;

    /// Blocks until something may have changed since `watch` was made, or the deadline passes.
    /// The watch is made before the first look, so that no change falls between.
    fn watch(&self) -> Result<Box<dyn Watch>>;

    /// The namespaces whose state belongs to a failure's evidence, nearest first.
    fn concerned(&self) -> Vec<Namespace>;
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
