//! What a program prints, and what it reads; a thread of its own serves both.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::Deadline;

/// What a program has printed so far; a thread of its own reads it.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
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

impl Outputs {
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

    pub fn wait_for_end(&self, deadline: Deadline) -> bool {
        self.wait_until(deadline, |state| state.has_ended).has_ended
    }

    /// What it had printed when it ended; waits for that.
    pub fn at_end(&self) -> [Kept; 2] {
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

/// The last lines of what a program printed.
pub(crate) fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    match lines.len().checked_sub(most) {
        None | Some(0) => lines.join("\n"),
        Some(before) => format!("({before} lines before)\n{}", lines[before..].join("\n")),
    }
}

/// The three ends of a program's pipes, and what tells of its end.
pub(super) struct Pipes {
    stdin: Option<process::ChildStdin>,
    input: Vec<u8>,
    written: usize,
    outputs: [Option<File>; 2],
    ended: Option<OwnedFd>,
}

/// How much of each output is kept.
const MOST: usize = 1 << 20;

impl Pipes {
    pub fn of(process: &mut process::Child, ended: OwnedFd, input: Vec<u8>) -> io::Result<Self> {
        let stdin = process.stdin.take();
        stdin.as_ref().map(nonblocking).transpose()?;
        let outputs = [process.stdout.take().map(OwnedFd::from), process.stderr.take().map(OwnedFd::from)];
        outputs.iter().flatten().try_for_each(nonblocking)?;
        Ok(Self { stdin, input, written: 0, outputs: outputs.map(|fd| fd.map(File::from)), ended: Some(ended) })
    }

    /// Reads and writes until the program has ended, and goes on with what its daemons read and print, or they would be
    /// killed for it (`SIGPIPE`) or wait for ever; until the last of them has ended, with its world if not before.
    pub fn serve(mut self, printed: &Outputs) {
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

    fn read(&mut self, printed: &Outputs, has_ended: bool) {
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
