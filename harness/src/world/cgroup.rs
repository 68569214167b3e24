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
    fcntl::{AtFlags, OFlag},
    poll::poll,
    sys::stat::Mode,
    unistd::{Pid, UnlinkatFlags, unlinkat},
};

use crate::Deadline;

/// A cgroup of version 2 that only this world uses.
#[derive(Debug)]
pub(super) struct Subtree {
    parent: PathBuf,
    name: String,
    /// Open since it was made: a thread that has changed its mounts finds no path to it.
    folder: OwnedFd,
    /// The folder above, likewise.
    above: OwnedFd,
}

impl Subtree {
    /// A fresh one below the cgroup of this process; `None` where there is no tree of version 2 that can be written.
    pub fn new() -> io::Result<Option<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Some(parent) = own_cgroup() else { return Ok(None) };
        let name = format!("netproof-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match fs::create_dir(parent.join(&name)) {
            Ok(()) => {
                let folder = File::open(parent.join(&name))?.into();
                let above = File::open(&parent)?.into();
                Ok(Some(Self { parent, name, folder, above }))
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Moves a process into it.
    pub fn admit(&self, pid: Pid) -> io::Result<()> {
        File::from(self.procs()?).write_all(pid.to_string().as_bytes())
    }

    /// Moves a process out of it again, into the cgroup above; the process's cgroup namespace keeps its root.
    pub fn expel(&self, pid: Pid) -> io::Result<()> {
        let procs =
            nix::fcntl::openat(self.above.as_fd(), "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        File::from(procs).write_all(pid.to_string().as_bytes())
    }

    /// Its `cgroup.procs`, open for a process that is to move itself.
    pub fn procs(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(self.folder.as_fd(), "cgroup.procs", flags, Mode::empty())?)
    }

    /// The descriptors that PID 1 needs to take it away.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.folder.as_fd(), self.above.as_fd()]
    }

    /// Takes away the held folder and what is below: called by PID 1 once everything is killed. PID 1
    /// itself was moved out of it by [`Subtree::expel`], for a cgroup that has a process cannot go.
    pub fn remove_held(&self) {
        let deadline = Deadline::after(Duration::from_secs(2));
        loop {
            remove_below(&self.folder);
            let gone = unlinkat(self.above.as_fd(), self.name.as_str(), UnlinkatFlags::RemoveDir);
            if gone.is_ok() || deadline.passed() {
                return;
            }
            let _ = poll(&mut [], 5_u8);
        }
    }

    /// Takes it away, with everything below.
    pub fn remove(&self) {
        let deadline = Deadline::after(Duration::from_secs(2));
        loop {
            remove_below(&self.folder);
            match fs::remove_dir(self.path()) {
                Ok(()) => return,
                // PID 1 was first.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(_) if deadline.passed() => return,
                Err(_) => {}
            }
            // A killed process is in its cgroup until the kernel has let go of it, which nothing announces to others.
            let _ = poll(&mut [], 5_u8);
        }
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
        match nix::fcntl::openat(folder.as_fd(), name.as_slice(), flags, Mode::empty()) {
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
    pub fn for_test(&self) -> PathBuf {
        self.path()
    }
}
