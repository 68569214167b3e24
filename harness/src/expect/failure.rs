//! What an expectation that did not come true says.

use std::{fmt, panic::Location, time::Duration};

use super::{PATIENCE, Why, may_come};
use crate::{Deadline, Error, Probe, explain, labels::Labels};

/// An expectation that did not come true, and all that one would ask for next. Its `Display` is the whole story.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Whether the claim is false, or could not be tried.
    pub kind: Kind,
    /// Where it stands: `suites/src/cases/pair.rs:41`.
    pub at: String,
    /// What was looked at: `host: ping -I veth1-0 10.20.30.41`.
    pub probe: String,
    /// The pattern.
    pub expected: String,
    /// How long it was waited for, before scaling.
    pub within: Duration,
    /// How often it was looked at.
    pub looks: usize,
    /// Whether something that came back has ended it, so that what is seen later could not count ([`Probe::retried`]).
    pub may_be_retried: bool,
    /// What was seen last, what came back before where that counts more, or why nothing could be seen.
    pub seen: String,
    /// The labels in force, outermost first.
    pub given: Vec<String>,
    /// The hop where the packet went missing, and why; where that is known.
    pub cause: Option<String>,
    /// The cause, or that none was found, and the way that the packet took.
    pub explanation: Option<String>,
    /// The state of every namespace concerned.
    pub state: String,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The claim is false.
    Failed,
    /// It could not be found out whether the claim holds.
    Error,
    /// This kernel does not have what the claim is about.
    Unsupported,
}

impl Kind {
    /// What an error means for the claim that it kept from being tried.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Unsupported(_) => Self::Unsupported,
            Error::Implementation { .. } | Error::NoBroadcast { .. } => Self::Failed,
            error if may_come(error) => Self::Failed,
            _ => Self::Error,
        }
    }
}

impl Failure {
    pub(super) fn new<P: Probe>(
        at: &Location<'_>,
        probe: &P,
        pattern: &str,
        within: Duration,
        looks: usize,
        why: Why<P::Output>,
    ) -> Self {
        let (kind, seen) = match &why {
            Why::Seen(seen) | Why::LastWord(seen) => (Kind::Failed, seen.to_string()),
            Why::TooLate { before, silence } => {
                (Kind::Failed, format!("{before}\nand then {silence}, which does not make up for it"))
            }
            Why::Unproven(seen, reason) => (Kind::Error, format!("{seen}\nwhich proves nothing: {reason}")),
            Why::Error(error) => (Kind::of(error), error.to_string()),
        };
        let explained = probe
            .journey()
            .filter(|_| kind != Kind::Unsupported)
            .map(|journey| explain::explain(&journey, || probe.retrace(Deadline::after(PATIENCE))));
        let (cause, explanation) = match explained {
            None if probe.depends_on_ports() => (None, explain::unusual_ports(&probe.concerned())),
            None => (None, None),
            Some(Ok(told)) => (told.cause.clone(), Some(told.to_string())),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        Self {
            kind,
            at: format!("{}:{}", at.file(), at.line()),
            probe: probe.describe(),
            expected: one_line(pattern),
            within,
            looks,
            may_be_retried: matches!(why, Why::LastWord(_) | Why::TooLate { .. }) && probe.journey().is_some(),
            seen,
            given: Labels::current().into_lines(),
            cause,
            explanation,
            state: explain::evidence(&probe.concerned()),
        }
    }

    /// One line: what was looked at, expected and seen.
    #[must_use]
    pub fn reason(&self) -> String {
        let seen = self.seen.lines().next().unwrap_or_default();
        let what = format!("{}: expected {}, seen: {seen}", self.probe, self.expected);
        match self.explanation.as_ref().and_then(|explanation| explanation.lines().next()) {
            Some(cause) => format!("{what} ({cause})"),
            None => what,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headline = match self.kind {
            Kind::Failed => "expectation failed",
            Kind::Error => "expectation could not be tried",
            Kind::Unsupported => "expectation is not supported here",
        };
        writeln!(f, "{headline} at {}", self.at)?;
        section(f, "probe", &self.probe)?;
        section(f, "expected", &self.expected)?;
        let times = if self.looks == 1 { "look" } else { "looks" };
        section(f, &format!("seen ({} {times})", self.looks), &self.seen)?;
        if !self.given.is_empty() {
            section(f, "given", &self.given.join("\n"))?;
        }
        if let Some(explanation) = &self.explanation {
            section(f, "why", explanation)?;
        }
        f.write_str(self.state.trim_end())
    }
}

impl std::error::Error for Failure {}

fn section(f: &mut fmt::Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {title}:")?;
    text.lines().try_for_each(|line| writeln!(f, "    {line}"))
}

/// A pattern that spans lines in the source reads as one.
fn one_line(pattern: &str) -> String {
    pattern.split_whitespace().collect::<Vec<_>>().join(" ")
}
