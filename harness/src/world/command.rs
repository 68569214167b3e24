//! A program that runs in a world.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};

use super::{SCRATCH, World, cgroup::Subtree, init::is_ready_by, sys};
use crate::{Deadline, Error, Namespace, Result};

/// A program to be started in a world.
#[must_use = "nothing runs before `output`, `status` or `spawn`"]
pub struct Command<'world> {
    world: &'world World,
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    inside: Namespace,
    input: Vec<u8>,
    most: usize,
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

/// A program that runs; dropped, it goes on until the world ends.
#[derive(Debug)]
#[must_use]
pub struct Child {
    process: Process,
}

/// What a program reads from and prints to.
#[derive(Clone, Copy)]
enum Ends {
    Pipes,
    Nothing,
    Ours,
}

/// Shared by whoever waits for it and the world, which in the end reaps what nobody has waited for.
pub(super) type Process = Arc<Mutex<process::Child>>;

/// Kills a process, if it is still there, and reaps it before the deadline.
pub(super) fn reap(process: &Process, deadline: Deadline) {
    let mut process = held(process);
    if process.kill().is_err() {
        return;
    }
    let ended = pidfd_open(rustix::process::Pid::from_child(&process), PidfdFlags::empty());
    if ended.is_ok_and(|ended| is_ready_by(&ended, deadline)) {
        let _ = process.wait();
    }
}

/// Whether it has yet to be reaped; one that somebody is waiting for is left to them.
fn is_still_there(process: &Process) -> bool {
    process.try_lock().map_or(true, |mut process| matches!(process.try_wait(), Ok(None)))
}

fn held(process: &Process) -> MutexGuard<'_, process::Child> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'world> Command<'world> {
    pub(super) fn new(world: &'world World, program: &Path) -> Self {
        let variable = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
        let scratch = OsStr::new(SCRATCH);
        Self {
            world,
            program: program.into(),
            arguments: Vec::new(),
            variables: vec![
                variable("PATH", &path),
                variable("LANG", OsStr::new("C.UTF-8")),
                variable("HOME", scratch),
                variable("TMPDIR", scratch),
                variable("XDG_RUNTIME_DIR", scratch),
            ],
            inside: world.host.clone(),
            input: Vec::new(),
            most: 1 << 20,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. Of the caller's own only `PATH` is handed on.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// What it reads from standard input; not reading it is no fault.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The network namespace that it runs in, instead of `host`. `/sys` stays the host's, unlike with `ip netns exec`.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.inside = namespace.clone();
        self
    }

    /// Runs it until its own process exits, or the deadline passes and its process group is killed.
    ///
    /// Descendants that hold its output open are neither waited for nor killed. Of each output 1 MiB is kept.
    pub fn output(self, deadline: Deadline) -> Result<Output> {
        let (program, namespace) = (self.program.clone(), self.inside.name().to_owned());
        self.run(deadline).map_err(|error| Error::kernel(format!("running {}", program.display()), namespace, error))
    }

    /// Runs it in front of the user until it exits, however long that takes: with the standard input, output and error of
    /// this process, and in its process group, so that a shell has the terminal and keys like Ctrl-C reach the program
    /// (and this process).
    pub fn status(self) -> Result<ExitStatus> {
        let (program, namespace) = (self.program.clone(), self.inside.name().to_owned());
        let ended = self.start(Ends::Ours).and_then(|process| held(&process).wait());
        ended.map_err(|error| Error::kernel(format!("running {}", program.display()), namespace, error))
    }

    /// Starts it, with nothing to read and nowhere to print.
    pub fn spawn(self) -> Result<Child> {
        let (program, namespace) = (self.program.clone(), self.inside.name().to_owned());
        let started = self.start(Ends::Nothing);
        let process =
            started.map_err(|error| Error::kernel(format!("starting {}", program.display()), namespace, error))?;
        Ok(Child { process })
    }

    fn start(&self, ends: Ends) -> io::Result<Process> {
        let end = || match ends {
            Ends::Pipes => Stdio::piped(),
            Ends::Nothing => Stdio::null(),
            Ends::Ours => Stdio::inherit(),
        };
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(SCRATCH).stdin(end()).stdout(end()).stderr(end());
        let procs = self.world.cgroup.as_ref().map(Subtree::procs).transpose()?;
        sys::set_apart(&mut command, !matches!(ends, Ends::Ours), procs);
        let process = Arc::new(Mutex::new(self.world.with_all(&self.inside, || command.spawn())?));
        let mut children = self.world.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(is_still_there);
        children.push(Arc::clone(&process));
        Ok(process)
    }

    fn run(self, deadline: Deadline) -> io::Result<Output> {
        let process = self.start(Ends::Pipes)?;
        let mut process = held(&process);
        let pid = Pid::from_raw(process.id() as i32);
        let mut pipes = Pipes::of(&mut process, self.input, self.most)?;
        let ended = pidfd_open(rustix::process::Pid::from_child(&process), PidfdFlags::empty())?;
        let in_time = pipes.serve(&ended, deadline)?;
        if !in_time {
            // Its session's first group. It may have ended just now; then there is no such group any more.
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let status = process.wait()?;
        pipes.drain()?;
        let Pipes { stdout, stderr, .. } = pipes;
        keep_open([stdout.pipe, stderr.pipe]);
        Ok(Output {
            status,
            stdout: stdout.kept,
            stderr: stderr.kept,
            timed_out: !in_time && status.signal() == Some(9),
            too_much: stdout.more,
        })
    }
}

impl Child {
    /// Its process id, as the machine numbers it.
    #[must_use]
    pub fn id(&self) -> u32 {
        held(&self.process).id()
    }

    /// Kills it, and waits for its end.
    pub fn kill(self) -> io::Result<ExitStatus> {
        let mut process = held(&self.process);
        process.kill()?;
        process.wait()
    }
}

/// The three ends of a program's pipes.
struct Pipes {
    stdin: Option<process::ChildStdin>,
    input: Vec<u8>,
    written: usize,
    stdout: Reader,
    stderr: Reader,
}

/// One output of a program: what is kept of it, and whether there was more.
struct Reader {
    pipe: Option<File>,
    kept: Vec<u8>,
    most: usize,
    more: bool,
}

impl Pipes {
    fn of(process: &mut process::Child, input: Vec<u8>, most: usize) -> io::Result<Self> {
        let reader = |pipe: Option<OwnedFd>| -> io::Result<Reader> {
            pipe.as_ref().map(nonblocking).transpose()?;
            Ok(Reader { pipe: pipe.map(Into::into), kept: Vec::new(), most, more: false })
        };
        let stdout = reader(process.stdout.take().map(Into::into))?;
        let stderr = reader(process.stderr.take().map(Into::into))?;
        let stdin = process.stdin.take();
        stdin.as_ref().map(nonblocking).transpose()?;
        let mut pipes = Self { stdin, input, written: 0, stdout, stderr };
        if pipes.input.is_empty() {
            pipes.stdin = None;
        }
        Ok(pipes)
    }

    /// Reads and writes until the program has ended; false: the deadline passed first.
    fn serve(&mut self, ended: &OwnedFd, deadline: Deadline) -> io::Result<bool> {
        loop {
            let mut waiting = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            let readers = [&self.stdout, &self.stderr];
            waiting.extend(
                readers
                    .into_iter()
                    .filter_map(|reader| reader.pipe.as_ref())
                    .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
            );
            waiting.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
            let left = deadline.left().as_millis().saturating_add(1).min(60_000) as u16;
            match poll(&mut waiting, PollTimeout::from(if deadline.passed() { 0 } else { left })) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if waiting[0].revents().is_some_and(|events| !events.is_empty()) {
                return Ok(true);
            }
            self.write()?;
            self.drain()?;
            // Whether there is more to read or not: who prints without end is never heard out.
            if deadline.passed() {
                return Ok(false);
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.stdin else { return Ok(()) };
        match pipe.write(&self.input[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // It does not read, or not all.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.written = self.input.len(),
            Err(error) => return Err(error),
        }
        if self.written == self.input.len() {
            self.stdin = None;
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        self.stdout.drain()?;
        self.stderr.drain()
    }
}

impl Reader {
    /// Reads what is there. At most one pipe's worth at a time, so that a flood cannot hold up the deadline.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1 << 14];
        for _ in 0..8 {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = self.most - self.kept.len();
                    self.more |= count > room;
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Goes on reading what daemons print after the program that started them has ended, or they would be killed for it
/// (`SIGPIPE`) or wait for ever; until the last of them has ended, with its world if not before.
fn keep_open(pipes: [Option<File>; 2]) {
    let mut pipes: Vec<File> = pipes.into_iter().flatten().collect();
    if pipes.is_empty() {
        return;
    }
    let read_on = move || {
        let mut buffer = vec![0; 1 << 16];
        while !pipes.is_empty() {
            let mut waiting: Vec<_> = pipes.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
            if poll(&mut waiting, PollTimeout::NONE).is_err_and(|error| error != Errno::EINTR) {
                return;
            }
            pipes.retain_mut(|pipe| match pipe.read(&mut buffer) {
                Ok(count) => count > 0,
                Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            });
        }
    };
    // Where there can be no thread more, the daemon has to do without a reader.
    let _ = thread::Builder::new().name("netproof-drain".into()).spawn(read_on);
}

fn nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
