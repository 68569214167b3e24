//! A program that runs in a world.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    SCRATCH, World,
    cgroup::Subtree,
    child::{Child, Output, Process, Started, held, is_still_there},
    limits, mounts,
    printed::last_lines,
    sys,
};
use crate::{Deadline, Error, Namespace, Result};

/// A program to be started in a world.
///
/// ```no_run
/// use std::time::Duration;
/// use netproof::Lab;
/// let lab = Lab::of("pair")?;
/// let (soon, netns1) = (Duration::from_secs(5), lab.node("netns1"));
/// let addresses = lab.command("ip")?.args(["-brief", "address"]).inside(netns1).read(soon)?;
/// assert!(addresses.contains("10.20.30.41"));
/// let failed = lab.command("ip")?.args(["link", "del", "nothing"]).output(soon)?;
/// assert!(!failed.status.success());
/// # Ok::<(), netproof::Error>(())
/// ```
#[must_use = "nothing runs before `output`, `status` or `spawn`"]
pub struct Command<'world> {
    world: &'world World,
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    inside: Namespace,
    input: Vec<u8>,
}

/// The caller's, and after it the folders of administration, which users other than root have not on theirs.
fn path() -> OsString {
    const OTHERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let own = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let mut folders: Vec<PathBuf> = own.iter().flat_map(std::env::split_paths).collect();
    for other in OTHERS.map(PathBuf::from) {
        if !folders.contains(&other) {
            folders.push(other);
        }
    }
    std::env::join_paths(folders).unwrap_or_default()
}

impl<'world> Command<'world> {
    pub(super) fn new(world: &'world World, program: &Path) -> Self {
        let variable = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
        let path = path();
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

    /// The network namespace that it runs in, instead of `host`, with its links in `/sys/class/net`, as with
    /// `ip netns exec`: in a copy of the lab's mounts, so that what it mounts nobody else sees. `/etc/netns` is not read.
    ///
    /// Files are the lab's, and common to its nodes: two daemons that write the same path below /run or /etc, a socket or a pid
    /// file, need a path each.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.inside = namespace.clone();
        self
    }

    /// Runs it until its own process exits, or the deadline passes and its process group is killed.
    ///
    /// Descendants that hold its output open are neither waited for nor killed. Of each output the first MiB is kept.
    pub fn output(self, deadline: impl Into<Deadline>) -> Result<Output> {
        self.spawn()?.output(deadline)
    }

    /// Runs it as [`Command::output`] does, and is its standard output, without the newline at the end. Where it fails, or
    /// takes too long, that is an error with what it said.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use netproof::Lab;
    /// let lab = Lab::of("pair")?;
    /// let command = lab.command("ip")?.args(["-brief", "link"]).inside(lab.node("netns1"));
    /// let links = command.read(Duration::from_secs(10))?;
    /// assert!(links.contains("veth1-1@"), "{links}");
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn read(self, deadline: impl Into<Deadline>) -> Result<String> {
        let deadline = deadline.into();
        let (program, namespace) = (self.words(), self.inside.name().to_owned());
        let output = self.output(deadline)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        if output.status.success() && !output.too_much {
            return Ok(text(&output.stdout));
        }
        let how = if output.timed_out {
            format!("killed, as it had not ended after {} ms", deadline.length().as_millis())
        } else if output.status.success() {
            "it printed more than 1 MiB".into()
        } else {
            output.status.to_string()
        };
        let said = if output.stderr.is_empty() { text(&output.stdout) } else { text(&output.stderr) };
        Err(Error::Program { program, namespace, how, said: last_lines(&said, 40) })
    }

    /// Runs it in front of the user until it exits, however long that takes: with the standard input, output and error of
    /// this process, and in its process group, so that a shell has the terminal and keys like Ctrl-C reach the program
    /// (and this process).
    pub fn status(self) -> Result<ExitStatus> {
        let started = self.start([Stdio::inherit(), Stdio::inherit(), Stdio::inherit()], false);
        started.and_then(|process| held(&process).wait()).map_err(|error| self.failed(error))
    }

    /// Starts it, and goes on: what it prints is kept, to be looked at while it runs ([`Child::stderr`]).
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway")?;
    /// let server = lab.command("dnsmasq")?.args(["--keep-in-foreground", "--log-facility=-"]).spawn()?;
    /// expect!(server.stderr(), text if text.contains("started"));
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn spawn(mut self) -> Result<Child> {
        let input = std::mem::take(&mut self.input);
        // Nothing to read is the end of a file, whoever looks what kind of file it is.
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let started = self.start([stdin, Stdio::piped(), Stdio::piped()], true);
        let child = started.and_then(|process| Child::new(process, input, &self.program, self.inside.name()));
        child.map_err(|error| self.failed(error))
    }

    fn start(&self, [stdin, stdout, stderr]: [Stdio; 3], has_session: bool) -> io::Result<Process> {
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(SCRATCH).stdin(stdin).stdout(stdout).stderr(stderr);
        let procs = self.world.cgroup.as_ref().map(Subtree::procs).transpose()?;
        sys::set_apart(&mut command, has_session, procs, limits::descriptors());
        let is_elsewhere = !self.inside.is_same(&self.world.host)?;
        let spawned = self.world.with_all(&self.inside, || {
            if is_elsewhere {
                mounts::settings_anew(self.world.has_cgroup())?;
            }
            command.spawn()
        })?;
        let process = Arc::new(Mutex::new(Started::from(spawned)));
        let mut children = self.world.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(is_still_there);
        children.push(Arc::clone(&process));
        Ok(process)
    }

    fn words(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }

    fn failed(&self, source: io::Error) -> Error {
        let hint = match source.raw_os_error() {
            Some(libc::ENOENT) if self.program.is_absolute() => self.why_not_there(),
            Some(libc::ENOEXEC) => "a script needs a first line such as `#!/bin/sh`",
            Some(libc::EACCES) => "is it executable?",
            _ => crate::error::hint(&source),
        };
        Error::Start { program: self.words(), namespace: self.inside.name().to_owned(), source, hint }
    }

    fn has_dos_lines(&self) -> bool {
        let text = self.world.with_mounts(|| std::fs::read(&self.program));
        text.is_ok_and(|text| text.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r")))
    }

    fn why_not_there(&self) -> &'static str {
        match self.world.with_mounts(|| Ok(self.program.exists())) {
            Ok(true) if self.has_dos_lines() => {
                "its lines end in CR LF, so that its first line names no interpreter: `sed -i 's/\\r$//' FILE`"
            }
            Ok(true) => "the interpreter in its first line is not there",
            Ok(false) if self.program.exists() => {
                "it is there on the machine, but a lab has its own /tmp, /run, /dev and, unless root may overlay it, /var: what it is to \
                 see there it is shown, `Lab::builder(...).show(FOLDER)`"
            }
            _ => "",
        }
    }
}
