//! A program that was started.

use std::{
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::{self, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    sys::signal::{self, killpg},
    unistd::Pid,
};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::{
    init::is_ready_by,
    printed::{Outputs, Pipes},
};
use crate::{Deadline, Error, Result};

pub use nix::sys::signal::Signal;

/// A program that runs; dropped, it goes on until the world ends.
#[must_use = "`output` and `wait` wait for it, `kill` ends it"]
pub struct Child {
    pub(crate) process: Process,
    pub(crate) printed: Arc<Outputs>,
    pub(crate) program: String,
    /// A name only: held, the namespace would outlive its node.
    pub(crate) namespace: String,
}

/// What a program did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// How it ended; a program that was killed for the time it took ended by signal 9.
    pub status: ExitStatus,
    /// What it had printed by then, up to the cap.
    pub stdout: Vec<u8>,
    /// What it had printed on standard error, up to the cap.
    pub stderr: Vec<u8>,
    /// Whether it was killed because the deadline had passed.
    pub timed_out: bool,
    /// Whether it printed more than the cap on standard output.
    pub too_much: bool,
}

/// Shared by whoever holds the child and the world, which in the end reaps what nobody has waited for.
pub(crate) type Process = Arc<Mutex<Started>>;

/// A process that this one has started.
#[derive(Debug)]
pub(crate) struct Started {
    child: process::Child,
    /// Its number may be somebody else's by now.
    is_reaped: bool,
}

impl From<process::Child> for Started {
    fn from(child: process::Child) -> Self {
        Self { child, is_reaped: false }
    }
}

impl Started {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// What becomes readable once it has ended.
    fn ended(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(rustix::process::Pid::from_child(&self.child), PidfdFlags::empty())?)
    }

    /// How it ended, if it has; its number stays its own.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.is_reaped {
            return self.child.try_wait().ok().flatten();
        }
        let pid = WaitId::Pid(rustix::process::Pid::from_child(&self.child));
        let ended = waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).ok()??;
        const DUMPED: i32 = 0x80;
        let killed = || ended.terminating_signal().map(|signal| signal | if ended.dumped() { DUMPED } else { 0 });
        let status = ended.exit_status().map(|code| code << 8).or_else(killed);
        status.map(ExitStatus::from_raw)
    }

    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }

    fn signal(&self, signal: Signal) -> nix::Result<()> {
        if self.is_reaped { Ok(()) } else { signal::kill(self.pid(), signal) }
    }

    /// Kills its session's first group, which may outlive it.
    fn kill_group(&self) {
        if !self.is_reaped {
            let _ = killpg(self.pid(), Signal::SIGKILL);
        }
    }
}

/// Kills a process, if it is still there, and reaps it before the deadline.
pub(super) fn reap(process: &Process, deadline: Deadline) {
    let mut process = held(process);
    if process.is_reaped || process.signal(Signal::SIGKILL).is_err() {
        return;
    }
    if process.ended().is_ok_and(|ended| is_ready_by(&ended, deadline)) {
        let _ = process.wait();
    }
}

/// Whether it has yet to be reaped; one that somebody holds is left to them.
pub(super) fn is_still_there(process: &Process) -> bool {
    Arc::strong_count(process) > 1 || matches!(held(process).child.try_wait(), Ok(None))
}

pub(crate) fn held(process: &Process) -> MutexGuard<'_, Started> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Child {
    /// A child that has just been started, and the thread that reads what it prints.
    pub(super) fn new(process: Process, input: Vec<u8>, program: &Path, namespace: &str) -> io::Result<Self> {
        let printed = Arc::new(Outputs::default());
        let ended = held(&process).ended();
        let pipes = ended.and_then(|ended| Pipes::of(&mut held(&process).child, ended, input));
        let reader = pipes.and_then(|pipes| {
            let printed = Arc::clone(&printed);
            thread::Builder::new().name("netproof-reader".into()).spawn(move || pipes.serve(&printed))
        });
        match reader {
            Ok(_) => {
                Ok(Self { process, printed, program: program.display().to_string(), namespace: namespace.to_owned() })
            }
            Err(error) => {
                // Without a reader it would wait for ever, or be killed for what it prints.
                held(&process).kill_group();
                Err(error)
            }
        }
    }

    /// How it ended, if it has: `None` while it runs.
    #[must_use]
    pub fn try_wait(&self) -> Option<ExitStatus> {
        held(&self.process).has_ended()
    }

    /// Waits until it ends, and says how; `None` where it still runs at the deadline, and goes on.
    #[must_use]
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Option<ExitStatus> {
        self.printed.wait_for_end(deadline.into());
        self.try_wait()
    }

    /// Its process id, as the machine numbers it; the lab's own programs know it by [another](crate::World::processes).
    #[must_use]
    pub fn id(&self) -> u32 {
        held(&self.process).child.id()
    }

    /// Sends it a signal; one that has ended gets none. Equivalent to kill(2) of its own process, not of its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = held(&self.process).signal(signal);
        sent.map_err(|error| self.failed(&format!("sending {signal} to"), error.into()))
    }

    /// Waits until its own process exits, or the deadline passes and its process group is killed.
    ///
    /// Descendants that hold its output open are neither waited for nor killed. Of each output the first MiB is kept.
    pub fn output(self, deadline: impl Into<Deadline>) -> Result<Output> {
        let in_time = self.printed.wait_for_end(deadline.into());
        if !in_time {
            held(&self.process).kill_group();
        }
        self.ended(!in_time)
    }

    /// Kills its process group, also what is left of it where the program itself has ended, and waits for its end.
    pub fn kill(self) -> Result<Output> {
        held(&self.process).kill_group();
        self.ended(false)
    }

    fn ended(self, is_late: bool) -> Result<Output> {
        let [stdout, stderr] = self.printed.at_end();
        let status = held(&self.process).wait().map_err(|error| self.failed("waiting for", error))?;
        let timed_out = is_late && status.signal() == Some(Signal::SIGKILL as i32);
        Ok(Output { status, stdout: stdout.bytes, stderr: stderr.bytes, timed_out, too_much: stdout.more })
    }

    fn failed(&self, doing: &str, error: io::Error) -> Error {
        Error::kernel(format!("{doing} {}", self.program), &self.namespace, error)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({} in {}, process {})", self.program, self.namespace, self.id())
    }
}
