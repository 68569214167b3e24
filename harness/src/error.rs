//! The one error of this crate.

use std::{fmt, io, time::Duration};

/// What went wrong: what was being done, to which object, in which namespace, why, and what to try.
///
/// Its `Debug` is its `Display`: a test that ends by `?` shows it so.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a request.
    #[error("{doing} in namespace {namespace}: {source}{}", bracketed(hint(.source)))]
    Kernel {
        /// What was being done, to which object: `adding link veth1-0`.
        doing: String,
        /// The lab's name of the namespace: `host`, `netns1`.
        namespace: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This machine, or this process on it, cannot run a lab.
    #[error("{what}\n  try: {remedy}")]
    Environment {
        /// What is missing.
        what: String,
        /// The one command, or line of code, that helps.
        remedy: String,
    },
    /// The kernel, or the implementation, does not have what is asked for.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A topology that cannot be.
    #[error("{0}")]
    Topology(#[from] crate::topology::Invalid),
    /// An implementation failed at one of its verbs, or gave a wrong answer.
    #[error("{implementation}: {verb}: {message}{}", indented(.evidence))]
    Implementation {
        /// The implementation's name.
        implementation: String,
        /// The verb: `up`, `down`, ...
        verb: String,
        /// What is wrong.
        message: String,
        /// What it wrote to its standard error, capped.
        evidence: String,
    },
    /// A program could not be started.
    #[error("starting {program} in namespace {namespace}: {source}{}", bracketed(.hint))]
    Start {
        /// The program, with its arguments.
        program: String,
        /// The lab's name of the namespace that it was to run in.
        namespace: String,
        /// Why.
        source: io::Error,
        /// What to look at; empty where nothing is known.
        hint: &'static str,
    },
    /// A program failed that was to succeed.
    #[error("running {program} in namespace {namespace}: {how}{}", indented(.said))]
    Program {
        /// The program, with its arguments.
        program: String,
        /// The lab's name of the namespace that it ran in.
        namespace: String,
        /// How it ended: `exit status: 2`.
        how: String,
        /// What it wrote to its standard error, or else to its standard output, capped.
        said: String,
    },
    /// What was built, or said to be built, is not what the kernel has.
    #[error("read back from the kernel: {0}")]
    ReadBack(String),
    /// A deadline passed.
    #[error("{doing} in namespace {namespace}: not done after {} ms", .after.as_millis())]
    Timeout {
        /// What was being waited for.
        doing: String,
        /// The lab's name of the namespace.
        namespace: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// What one device of a segment sends to everyone does not get to another, so that what did not come proves nothing.
    #[error("no broadcast of {from} gets to {to}: a sentinel had not come after {} ms (are both on one segment?)", .after.as_millis())]
    NoBroadcast {
        /// Where it was sent: `veth2-1 in netns2`.
        from: String,
        /// Where it did not arrive.
        to: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// A name that the lab does not have, or a value that makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A kernel's refusal: `Error::kernel("adding link br0", "host", error)`.
    pub fn kernel(doing: impl Into<String>, namespace: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Kernel { doing: doing.into(), namespace: namespace.into(), source: source.into() }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What to try; empty where nothing is known.
pub(crate) fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "netproof needs root, or an unprivileged user namespace: `netproof doctor` tells what is missing"
        }
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise `ulimit -n`, or run fewer labs at once",
        _ => "",
    }
}

fn bracketed(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}

fn indented(evidence: &str) -> String {
    evidence.lines().map(|line| format!("\n  | {line}")).collect()
}
