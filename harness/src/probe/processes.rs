//! Processes of a lab, as `ps` prints them.

use std::{fmt, fs, io};

use super::{Probe, Seen, Watch, lines, traffic::Again};
use crate::{Deadline, Error, Namespace, Result, World};

impl World {
    /// Looks at the processes that run in the lab, but for PID 1, which is netproof's. Equivalent to `ps -e -o pid,args`,
    /// without those that have ended and were not waited for.
    pub fn processes(&self) -> Processes<'_> {
        Processes { world: self }
    }
}

/// A probe of every process of a lab.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Processes<'a> {
    world: &'a World,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its number in the lab's PID namespace.
    pub pid: u32,
    /// Its program and arguments; `[NAME]` where it has none.
    pub command: String,
}

/// Every process of a lab, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessList(pub Vec<Process>);

impl Processes<'_> {
    /// Lists them.
    pub fn list(&self) -> Result<Vec<Process>> {
        let listed = self.world.with_mounts(|| {
            let mut found = Vec::new();
            for entry in fs::read_dir("/proc")? {
                if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).filter(|pid| *pid > 1)
                {
                    found.extend(read(pid)?);
                }
            }
            found.sort_by_key(|process: &Process| process.pid);
            Ok(found)
        });
        listed.map_err(|error| Error::kernel("listing processes", self.world.host().name(), error))
    }
}

/// One process; none where it has ended.
fn read(pid: u32) -> io::Result<Option<Process>> {
    let read = |name: &str| match fs::read(format!("/proc/{pid}/{name}")) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    };
    let (Some(stat), Some(arguments)) = (read("stat")?, read("cmdline")?) else { return Ok(None) };
    // `PID (NAME) STATE ...`, and a name may have anything in it.
    let Some((name, state)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else {
        return Ok(None);
    };
    // A first thread that has ended leaves the others.
    let is_alone = || fs::read_dir(format!("/proc/{pid}/task")).map_or(true, |threads| threads.count() < 2);
    if state.starts_with(['Z', 'X']) && is_alone() {
        return Ok(None);
    }
    let words = arguments.trim_end_matches('\0').replace('\0', " ");
    let command = if words.is_empty() { format!("[{name}]") } else { words };
    Ok(Some(Process { pid, command }))
}

impl Probe for Processes<'_> {
    type Output = ProcessList;

    fn describe(&self) -> String {
        format!("{}: ps -e -o pid,args", self.world.host().name())
    }

    fn look(&self, _deadline: Deadline) -> Result<ProcessList> {
        self.list().map(ProcessList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(self.world.host()))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.world.host().clone()]
    }
}

impl Seen for ProcessList {
    type As<'a> = &'a [Process];

    fn seen(&self) -> &[Process] {
        &self.0
    }
}

impl fmt::Display for ProcessList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.0)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect;

    /// A program is seen with its arguments while it runs, and not once it has ended.
    #[test]
    fn a_program_is_seen_while_it_runs() {
        let host = Namespace::new("host").unwrap();
        let world = World::new(&host, &[]).unwrap();
        expect!(world.processes(), []);
        let child = world.command("sleep").arg("1000").spawn().unwrap();
        expect!(world.processes(), [Process { command, .. }] if command == "sleep 1000");
        child.kill().unwrap();
        expect!(world.processes(), []);
    }

    /// A process that nobody waits for is no process any more.
    #[test]
    fn what_has_ended_is_not_seen() {
        let host = Namespace::new("host").unwrap();
        let world = World::new(&host, &[]).unwrap();
        let script = "(sleep 0 & exec sleep 1000) & sleep 0";
        let output =
            world.command("sh").args(["-c", script]).output(Deadline::after(std::time::Duration::from_secs(10)));
        assert!(output.unwrap().status.success());
        expect!(world.processes(), [Process { command, .. }] if command == "sleep 1000");
    }
}
