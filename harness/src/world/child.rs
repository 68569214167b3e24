//! A program that was started, and what it prints.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::Path,
    process::{self, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{self, killpg},
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};

use super::init::is_ready_by;
use crate::{Deadline, Error, Namespace, Result};

pub use nix::sys::signal::Signal;

/// A program that runs; dropped, it goes on until the world ends.
#[must_use = "`output` waits for it, `kill` ends it"]
pub struct Child {
    process: Process,
    pub(crate) printed: Arc<Printed>,
    pub(crate) program: String,
    pub(crate) inside: Namespace,
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
pub(super) type Process = Arc<Mutex<Started>>;

/// A process that this one has started.
#[derive(Debug)]
pub(super) struct Started {
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

pub(super) fn held(process: &Process) -> MutexGuard<'_, Started> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last lines of what a program printed.
pub(crate) fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    match lines.len().checked_sub(most) {
        None | Some(0) => lines.join("\n"),
        Some(before) => format!("({before} lines before)\n{}", lines[before..].join("\n")),
    }
}

impl Child {
    /// A child that has just been started, and the thread that reads what it prints.
    pub(super) fn new(process: Process, input: Vec<u8>, program: &Path, inside: &Namespace) -> io::Result<Self> {
        let printed = Arc::new(Printed::default());
        let pipes = Pipes::of(&mut held(&process), input);
        let reader = pipes.and_then(|pipes| {
            let printed = Arc::clone(&printed);
            thread::Builder::new().name("netproof-reader".into()).spawn(move || pipes.serve(&printed))
        });
        match reader {
            Ok(_) => Ok(Self { process, printed, program: program.display().to_string(), inside: inside.clone() }),
            Err(error) => {
                // Without a reader it would wait for ever, or be killed for what it prints.
                held(&process).kill_group();
                Err(error)
            }
        }
    }

    /// Its process id, as the machine numbers it.
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
    /// Descendants that hold its output open are neither waited for nor killed. Of each output 1 MiB is kept.
    pub fn output(self, deadline: Deadline) -> Result<Output> {
        let in_time = self.printed.wait_for_end(deadline);
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
        Error::kernel(format!("{doing} {}", self.program), self.inside.name(), error)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({} in {}, process {})", self.program, self.inside.name(), self.id())
    }
}

/// What a program has printed so far; a thread of its own reads it.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outputs: [Kept; 2],
    has_ended: bool,
    /// How often anything changed.
    version: u64,
}

/// What is kept of an output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub more: bool,
    /// Whether nobody can print there any more.
    pub is_closed: bool,
}

impl Printed {
    pub fn stdout(&self) -> Kept {
        self.held().outputs[0].clone()
    }

    pub fn stderr(&self) -> Kept {
        self.held().outputs[1].clone()
    }

    pub fn version(&self) -> u64 {
        self.held().version
    }

    /// Waits until something has changed since `version`, and says as of which; none where the deadline passes first.
    pub fn wait_after(&self, version: u64, deadline: Deadline) -> Option<u64> {
        let state = self.wait_until(deadline, |state| state.version > version);
        (state.version > version).then_some(state.version)
    }

    fn wait_for_end(&self, deadline: Deadline) -> bool {
        self.wait_until(deadline, |state| state.has_ended).has_ended
    }

    /// What it had printed when it ended; waits for that.
    fn at_end(&self) -> [Kept; 2] {
        let ended = self.changed.wait_while(self.held(), |state| !state.has_ended);
        ended.unwrap_or_else(PoisonError::into_inner).outputs.clone()
    }

    fn wait_until(&self, deadline: Deadline, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.held(), deadline.left(), |state| !is_so(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Changes the state, and tells those who wait where it has changed.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.held();
        if change(&mut state) {
            state.version += 1;
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        self.change(|state| !std::mem::replace(&mut state.has_ended, true));
    }

    fn held(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The three ends of a program's pipes, and what tells of its end.
struct Pipes {
    stdin: Option<process::ChildStdin>,
    input: Vec<u8>,
    written: usize,
    outputs: [Option<File>; 2],
    ended: Option<OwnedFd>,
}

/// How much of each output is kept.
const MOST: usize = 1 << 20;

impl Pipes {
    fn of(process: &mut Started, input: Vec<u8>) -> io::Result<Self> {
        let ended = process.ended()?;
        let process = &mut process.child;
        let stdin = process.stdin.take();
        stdin.as_ref().map(nonblocking).transpose()?;
        let outputs = [process.stdout.take().map(OwnedFd::from), process.stderr.take().map(OwnedFd::from)];
        outputs.iter().flatten().try_for_each(nonblocking)?;
        Ok(Self { stdin, input, written: 0, outputs: outputs.map(|fd| fd.map(File::from)), ended: Some(ended) })
    }

    /// Reads and writes until the program has ended, and goes on with what its daemons read and print, or they would be
    /// killed for it (`SIGPIPE`) or wait for ever; until the last of them has ended, with its world if not before.
    fn serve(mut self, printed: &Printed) {
        while self.ended.is_some() || self.stdin.is_some() || self.outputs.iter().any(Option::is_some) {
            match self.wait() {
                // What can be waited for no longer has ended as far as anybody will know.
                Err(_) => return printed.end(),
                Ok(has_ended) => {
                    self.write();
                    self.read(printed, has_ended);
                    if has_ended {
                        self.ended = None;
                        printed.end();
                    }
                }
            }
        }
    }

    /// Waits until there is something to do, and says whether the program has just ended.
    fn wait(&self) -> io::Result<bool> {
        let reads = self.ended.iter().map(AsFd::as_fd).chain(self.outputs.iter().flatten().map(AsFd::as_fd));
        let mut waiting: Vec<_> = reads.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        waiting.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(self.ended.is_some() && waiting[0].any().unwrap_or(true))
    }

    /// Who does not read, or not all, is let be.
    fn write(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(&self.input[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if is_not_yet(&error) => return,
            Err(_) => self.written = self.input.len(),
        }
        if self.written == self.input.len() {
            self.stdin = None;
        }
    }

    fn read(&mut self, printed: &Printed, has_ended: bool) {
        // Two pipes' worth: who prints without end is never heard out.
        const AT_ONCE: usize = 1 << 17;
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let Some(pipe) = output else { continue };
            // What a program printed before its end belongs to it, however large it made its pipe.
            let there = if has_ended { rustix::io::ioctl_fionread(&*pipe).unwrap_or(0) as usize } else { 0 };
            let (bytes, is_closed) = read_there(pipe, there.max(AT_ONCE));
            if is_closed {
                *output = None;
            }
            printed.change(|state| state.outputs[index].take(&bytes, is_closed));
        }
    }
}

impl Kept {
    /// Keeps what there is room for, and says whether anything has changed by it.
    fn take(&mut self, bytes: &[u8], is_closed: bool) -> bool {
        let before = (self.bytes.len(), self.more, self.is_closed);
        let room = MOST - self.bytes.len();
        self.more |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_closed |= is_closed;
        before != (self.bytes.len(), self.more, self.is_closed)
    }
}

/// Reads what is there, about `most` bytes of it, and whether that was the last.
fn read_there(pipe: &mut File, most: usize) -> (Vec<u8>, bool) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1 << 14]);
    while bytes.len() < most {
        match pipe.read(&mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (bytes, true),
        }
    }
    (bytes, false)
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
