//! The processes of a lab: namespaces of their own for mounts, processes, cgroups, names and IPC.
//!
//! Nothing that a program in here does reaches the machine, as long as it does not set out to; and when the lab ends,
//! or the process that made it, however it ends, everything in here is killed and taken away. What a program finds is
//! said on the page of the driver protocol, "Where a driver runs". /dev/net/tun and /dev/fuse are there where the user may open
//! the machine's.

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::{Deadline, Error, Namespace, Result, namespace::on_a_thread};

mod cgroup;
mod child;
mod command;
mod init;
pub(crate) mod limits;
mod mounts;
mod printed;
mod program;
mod sys;

pub use self::{
    child::{Child, Output, Signal},
    command::Command,
    program::write_program,
};
pub(crate) use self::{
    child::{Process, held},
    printed::{Kept, Outputs, last_lines},
};

/// Where programs find their scratch folder: working directory, `HOME`, `TMPDIR` and `XDG_RUNTIME_DIR`.
pub const SCRATCH: &str = "/var/tmp/scratch";

/// A lab's processes, and the namespaces that they are in. Dropped, it kills them all.
#[derive(Debug)]
#[must_use = "its processes are killed as soon as it is dropped"]
pub struct World {
    host: Namespace,
    keeper: init::Keeper,
    inside: Inside,
    /// Those that nobody has waited for yet.
    children: Mutex<Vec<child::Process>>,
    cgroup: Option<cgroup::Subtree>,
}

/// The namespaces that a program is born into, besides the network's.
#[derive(Debug)]
struct Inside {
    mount: OwnedFd,
    pid: OwnedFd,
    uts: OwnedFd,
    ipc: OwnedFd,
    cgroup: OwnedFd,
}

impl World {
    /// A world around the network namespace `host`, in which `folders` are to be seen at their own paths, read-only.
    pub fn new(host: &Namespace, folders: &[PathBuf]) -> Result<Self> {
        Self::make(host, folders).map_err(|error| Error::kernel("making a world for programs", host.name(), error))
    }

    /// Whether its programs have a cgroup of version 2 of their own, which container engines need.
    #[must_use]
    pub fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    pub(crate) fn host(&self) -> &Namespace {
        &self.host
    }

    fn make(host: &Namespace, folders: &[PathBuf]) -> io::Result<Self> {
        let cgroup = cgroup::Subtree::planned()?;
        let (keeper, pid) = on_a_thread(|| init::start(host, folders, cgroup.as_ref()))?;
        let namespace = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).map(OwnedFd::from);
        let inside = Inside {
            mount: namespace("mnt")?,
            pid: namespace("pid_for_children").or_else(|_| namespace("pid"))?,
            uts: namespace("uts")?,
            ipc: namespace("ipc")?,
            cgroup: namespace("cgroup")?,
        };
        let world = Self { host: host.clone(), keeper, inside, children: Mutex::default(), cgroup };
        world.bind("host", host).map_err(io::Error::other)?;
        Ok(world)
    }

    /// Makes a network namespace known as `/run/netns/NAME`; an older one of this name gives way.
    pub fn bind(&self, name: &str, namespace: &Namespace) -> Result<()> {
        let path = format!("/run/netns/{name}");
        let bind = || {
            if Path::new(&path).exists() {
                let _ = nix::mount::umount2(path.as_str(), nix::mount::MntFlags::MNT_DETACH);
            }
            File::create(&path)?;
            let flags =
                OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = open_tree(namespace, "", flags)?;
            move_mount(&tree, "", rustix::fs::CWD, path.as_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(())
        };
        self.with_mounts(bind).map_err(|error| Error::kernel(format!("binding {path}"), self.host.name(), error))
    }

    /// Takes `/run/netns/NAME` away, so that the namespace can go.
    pub fn unbind(&self, name: &str) -> Result<()> {
        let path = format!("/run/netns/{name}");
        let unbind = || {
            nix::mount::umount2(path.as_str(), nix::mount::MntFlags::MNT_DETACH)?;
            fs::remove_file(&path)
        };
        self.with_mounts(unbind).map_err(|error| Error::kernel(format!("unbinding {path}"), self.host.name(), error))
    }

    /// The network namespace that a path leads to, for the lab's own programs: `/proc/4711/ns/net` is their process 4711.
    pub fn open_netns(&self, name: &str, path: &str) -> Result<Namespace> {
        let opened = self.with_mounts(|| sys::open_netns(path));
        let fd = opened.map_err(|error| Error::kernel(format!("opening {path}"), name, error))?;
        Ok(Namespace::from_fd(name, fd))
    }

    /// Kills the lab's processes that are in this network namespace.
    pub(crate) fn kill_in(&self, namespace: &Namespace) -> Result<()> {
        let killed = self.with_mounts(|| {
            let wanted = namespace.identity()?;
            for entry in fs::read_dir("/proc")? {
                let folder = entry?.path();
                // Who has gone in the meantime is in no namespace; a kernel's or a stranger's process is in none to see.
                let Ok(found) = fs::metadata(folder.join("ns/net")) else { continue };
                if (found.dev(), found.ino()) == wanted {
                    // Numbers are of the lab's PID namespace, which this thread is not in: the folder stands for one.
                    let _ = rustix::process::pidfd_send_signal(fs::File::open(folder)?, rustix::process::Signal::KILL);
                }
            }
            Ok(())
        });
        killed.map_err(|error| Error::kernel("killing what runs there", namespace.name(), error))
    }

    /// Writes a file, as the lab's programs see the path, and the folders that lead to it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        self.write_by(path, || fs::write(path, text))
    }

    /// Writes an executable file, as [`World::write`].
    pub fn write_program(&self, path: &str, text: &str) -> Result<()> {
        self.write_by(path, || write_program(path, text))
    }

    fn write_by(&self, path: &str, write: impl FnOnce() -> io::Result<()> + Send) -> Result<()> {
        let written = self.with_mounts(|| {
            Path::new(path).parent().map(fs::create_dir_all).transpose()?;
            write()
        });
        written.map_err(|error| Error::kernel(format!("writing {path}"), self.host.name(), error))
    }

    /// Writes a folder of executable files, unless it is there: a program that runs is not written over.
    pub(crate) fn write_folder(&self, folder: &Path, files: &[(String, String)]) -> Result<()> {
        let written = self.with_mounts(|| {
            if folder.exists() {
                return Ok(());
            }
            files.iter().try_for_each(|(name, text)| {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                write_program(path, text)
            })
        });
        written.map_err(|error| Error::kernel(format!("writing {}", folder.display()), self.host.name(), error))
    }

    /// Reads a file, as the lab's programs see the path.
    pub fn read(&self, path: &str) -> Result<String> {
        let read = self.with_mounts(|| fs::read_to_string(path));
        read.map_err(|error| Error::kernel(format!("reading {path}"), self.host.name(), error))
    }

    /// A program to be started, in the network namespace `host` unless it says otherwise.
    pub fn command(&self, program: impl AsRef<Path>) -> Command<'_> {
        Command::new(self, program.as_ref())
    }

    /// Runs `code` on a thread that sees the lab's mounts.
    pub(crate) fn with_mounts<T: Send>(&self, code: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS)?;
            setns(&self.inside.mount, CloneFlags::CLONE_NEWNS)?;
            code()
        })
    }

    /// Runs `code` on a thread whose children are born in the lab.
    fn with_all<T: Send>(&self, net: &Namespace, code: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS)?;
            setns(net, CloneFlags::CLONE_NEWNET)?;
            for (fd, kind) in [
                (&self.inside.uts, CloneFlags::CLONE_NEWUTS),
                (&self.inside.ipc, CloneFlags::CLONE_NEWIPC),
                (&self.inside.cgroup, CloneFlags::CLONE_NEWCGROUP),
                (&self.inside.pid, CloneFlags::CLONE_NEWPID),
                (&self.inside.mount, CloneFlags::CLONE_NEWNS),
            ] {
                setns(fd, kind)?;
            }
            sys::drop_module_loading()?;
            code()
        })
    }

    /// Ends it: has the keeper kill every process and take the cgroups away, and waits until it has.
    fn end(&mut self) {
        let deadline = Deadline::after(Duration::from_secs(10));
        self.keeper.end();
        // They are this process's children: until it reaps them their PID namespace, and so PID 1, is there.
        for process in self.children.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            child::reap(&process, deadline);
        }
        self.keeper.wait(deadline);
        if let Some(cgroup) = &self.cgroup {
            // There only if the keeper was killed.
            cgroup.remove();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            // A second panic would abort the tests beside this one.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        } else {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests;
