//! A world's subtree of the cgroups: from the root cgroup, a cgroup namespace would show the machine's whole tree.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    dir::Dir,
    fcntl::{AtFlags, OFlag, openat},
    poll::poll,
    sys::stat::{Mode, mkdirat},
    unistd::{AccessFlags, Pid, UnlinkatFlags, access, unlinkat},
};

use crate::Deadline;

/// A cgroup of version 2 that only this world uses. PID 1 makes it, for whoever makes it must be there to take it away.
#[derive(Debug)]
pub(super) struct Subtree {
    name: String,
    /// The folder of the cgroup above, open: a process that has changed its mounts finds no path to it.
    above: OwnedFd,
}

impl Subtree {
    /// One to be made below the cgroup of this process; `None` where there is no tree of version 2 that can be written.
    pub fn planned() -> io::Result<Option<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Some(parent) = own_cgroup() else { return Ok(None) };
        if access(&parent, AccessFlags::W_OK).is_err()
            || access(&parent.join("cgroup.procs"), AccessFlags::W_OK).is_err()
        {
            return Ok(None);
        }
        let name = format!("netproof-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Ok(Some(Self { name, above: File::open(&parent)?.into() }))
    }

    /// Makes it and moves the calling process, PID 1, into it, so that a cgroup namespace can begin here.
    /// Returns the way back.
    pub fn enter(&self) -> io::Result<WayBack> {
        mkdirat(&self.above, self.name.as_str(), Mode::from_bits_retain(0o755))?;
        // Opened before there is another cgroup namespace: what may be written is decided by the one of this moment.
        let back = self.open("cgroup.procs", OFlag::O_WRONLY)?;
        File::from(self.procs()?).write_all(b"0")?;
        Ok(WayBack(back))
    }

    /// Moves PID 1 out of it, where it could not move itself (before Linux 5.16): a cgroup that has a process cannot go.
    pub fn expel(&self, pid: Pid) -> io::Result<()> {
        self.open("cgroup.procs", OFlag::O_WRONLY)?.write_all(pid.to_string().as_bytes())
    }

    /// Its `cgroup.procs`, open for a process that is to move itself.
    pub fn procs(&self) -> io::Result<OwnedFd> {
        Ok(self.open(&format!("{}/cgroup.procs", self.name), OFlag::O_WRONLY)?.into())
    }

    /// The descriptor that PID 1 needs.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.above.as_fd()
    }

    /// Takes it away, with everything below, once its processes are killed.
    pub fn remove(&self) {
        let deadline = Deadline::after(Duration::from_secs(2));
        while let Ok(folder) = self.open(&self.name, OFlag::O_DIRECTORY) {
            remove_below(&folder.into());
            let gone = unlinkat(&self.above, self.name.as_str(), UnlinkatFlags::RemoveDir);
            if gone.is_ok() || deadline.passed() {
                return;
            }
            // A killed process is in its cgroup until the kernel has let go of it, which nothing announces to others.
            let _ = poll(&mut [], 5_u8);
        }
    }

    fn open(&self, path: &str, flags: OFlag) -> io::Result<File> {
        Ok(openat(&self.above, path, flags | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }
}

/// The `cgroup.procs` of the cgroup above.
pub(super) struct WayBack(File);

impl WayBack {
    /// Moves the calling process there; its cgroup namespace keeps its root.
    pub fn take(mut self) -> io::Result<()> {
        self.0.write_all(b"0")
    }
}

/// Removes every cgroup below, however deep, without recursion: the deepest chain first.
fn remove_below(top: &OwnedFd) {
    let Ok(top) = top.as_fd().try_clone_to_owned() else { return };
    let mut way: Vec<(OwnedFd, Vec<Vec<u8>>)> =
        vec![(children_of(&top), top)].into_iter().map(|(names, fd)| (fd, names)).collect();
    while let Some((folder, names)) = way.last_mut() {
        let Some(name) = names.last().cloned() else {
            way.pop();
            if let Some((above, names)) = way.last_mut()
                && let Some(name) = names.pop()
            {
                let _ = unlinkat(above.as_fd(), name.as_slice(), UnlinkatFlags::RemoveDir);
            }
            continue;
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        match openat(folder.as_fd(), name.as_slice(), flags, Mode::empty()) {
            Ok(below) => {
                let names = children_of(&below);
                way.push((below, names));
            }
            Err(_) => _ = names.pop(),
        }
    }
}

fn children_of(folder: &OwnedFd) -> Vec<Vec<u8>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(mut dir) = Dir::openat(folder.as_fd(), ".", flags, Mode::empty()) else { return Vec::new() };
    let entries: Vec<Vec<u8>> = dir.iter().flatten().map(|entry| entry.file_name().to_bytes().to_vec()).collect();
    let is_folder = |name: &Vec<u8>| {
        let about = nix::sys::stat::fstatat(folder.as_fd(), name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW);
        name != b"." && name != b".." && about.is_ok_and(|about| about.st_mode & libc::S_IFMT == libc::S_IFDIR)
    };
    entries.into_iter().filter(is_folder).collect()
}

/// The folder of this process's cgroup in the tree of version 2.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (root, mounted) = mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        if back.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = front.split(' ').skip(3);
        Some((fields.next()?, fields.next()?))
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own);
    let folder = Path::new(mounted).join(below.trim_start_matches('/'));
    folder.is_dir().then_some(folder)
}

#[cfg(test)]
impl Subtree {
    /// Another handle on it.
    pub fn twin(&self) -> Self {
        Self { name: self.name.clone(), above: self.above.try_clone().unwrap() }
    }

    pub fn is_there(&self) -> bool {
        self.open(&self.name, OFlag::O_DIRECTORY).is_ok()
    }
}
