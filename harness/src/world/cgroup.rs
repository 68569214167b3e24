//! A world's subtree of the cgroups: from the root cgroup, a cgroup namespace would show the machine's whole tree.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    fcntl::{OFlag, openat},
    poll::poll,
    sys::stat::{Mode, mkdirat},
    unistd::{AccessFlags, UnlinkatFlags, access, read, unlinkat, write},
};

use super::sys;
use crate::Deadline;

/// A cgroup of version 2 that only this world uses. The world's keeper makes it, for whoever makes it must be there to
/// take it away. Its programs are in a cgroup `programs` below: a cgroup that has processes cannot hand on controllers,
/// which a container engine in the world wants of its root.
#[derive(Debug)]
pub(super) struct Subtree {
    name: String,
    /// Paths below `above`, written out: the keeper allocates nothing.
    procs: String,
    controllers: String,
    subtree_control: String,
    programs: String,
    programs_procs: String,
    /// The folder of the cgroup above, open: a process that has changed its mounts finds no path to it.
    above: OwnedFd,
}

/// The two `cgroup.procs` through which PID 1 gets into its cgroup.
pub(super) struct Entrance {
    top: OwnedFd,
    programs: OwnedFd,
}

impl Entrance {
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.top.as_fd(), self.programs.as_fd()]
    }

    /// Moves the calling process to the top, where `begin` makes a cgroup namespace begin, then to where programs are.
    pub fn enter(self, begin: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        write(&self.top, b"0")?;
        begin()?;
        write(&self.programs, b"0")?;
        Ok(())
    }
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
        Ok(Some(Self {
            procs: format!("{name}/cgroup.procs"),
            controllers: format!("{name}/cgroup.controllers"),
            subtree_control: format!("{name}/cgroup.subtree_control"),
            programs: format!("{name}/programs"),
            programs_procs: format!("{name}/programs/cgroup.procs"),
            name,
            above: File::open(&parent)?.into(),
        }))
    }

    /// Makes it, and returns the way in.
    pub fn make(&self) -> io::Result<Entrance> {
        let mode = Mode::from_bits_retain(0o755);
        mkdirat(&self.above, self.name.as_str(), mode)?;
        mkdirat(&self.above, self.programs.as_str(), mode)?;
        Ok(Entrance { top: self.open(&self.procs, OFlag::O_WRONLY)?, programs: self.procs()? })
    }

    /// Lets what is below use every controller that the machine gave to it; which those are is the machine's choice.
    pub fn hand_on_controllers(&self) {
        let Ok(controllers) = self.open(&self.controllers, OFlag::O_RDONLY) else { return };
        let Ok(control) = self.open(&self.subtree_control, OFlag::O_WRONLY) else { return };
        let mut names = [0; 512];
        let length = read(&controllers, &mut names).unwrap_or(0);
        for name in names[..length].split(u8::is_ascii_whitespace).filter(|name| !name.is_empty()) {
            let mut words = [b'+'; 64];
            let Some(room) = words.get_mut(1..=name.len()) else { continue };
            room.copy_from_slice(name);
            // Some cannot be had everywhere (`cpu` where real-time processes are): then it does without.
            let _ = write(&control, &words[..=name.len()]);
        }
    }

    /// The `cgroup.procs` of its programs, open for a process that is to move itself.
    pub fn procs(&self) -> io::Result<OwnedFd> {
        self.open(&self.programs_procs, OFlag::O_WRONLY)
    }

    /// The descriptor that the keeper needs.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.above.as_fd()
    }

    /// Takes it away, with everything below, once its processes are killed. It allocates nothing, and however deep the
    /// tree is, it holds two descriptors.
    pub fn remove(&self) {
        let deadline = Deadline::exactly(Duration::from_secs(10));
        while let Ok(top) = self.open(&self.name, OFlag::O_DIRECTORY) {
            let emptied = remove_below(top, deadline);
            let gone = unlinkat(&self.above, self.name.as_str(), UnlinkatFlags::RemoveDir);
            if gone.is_ok() || deadline.passed() {
                return;
            }
            if emptied.is_ok() {
                let_go();
            }
        }
    }

    fn open(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        Ok(openat(&self.above, path, flags | OFlag::O_CLOEXEC, Mode::empty())?)
    }
}

/// A killed process is in its cgroup until the kernel has let go of it, which nothing announces to others.
fn let_go() {
    let _ = poll(&mut [], 5_u8);
}

/// Removes every cgroup below `folder`: one that cannot go has others below, or a process that is just going.
fn remove_below(mut folder: OwnedFd, deadline: Deadline) -> io::Result<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let (mut depth, mut came_down) = (0_usize, false);
    while !deadline.passed() {
        match sys::first_folder(&folder)? {
            Some(below) if unlinkat(&folder, below.name(), UnlinkatFlags::RemoveDir).is_ok() => came_down = false,
            Some(below) => {
                folder = openat(&folder, below.name(), flags, Mode::empty())?;
                (depth, came_down) = (depth + 1, true);
            }
            None if depth == 0 => return Ok(()),
            None => {
                if came_down {
                    let_go();
                }
                // It has no other name than the way that led to it; a cgroup cannot be moved meanwhile.
                folder = openat(&folder, "..", flags, Mode::empty())?;
                (depth, came_down) = (depth - 1, false);
            }
        }
    }
    Ok(())
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
    /// Whether it stands; asked of a handle that outlives the world.
    pub fn is_there(&self) -> bool {
        self.open(&self.name, OFlag::O_DIRECTORY).is_ok()
    }

    /// Another handle on it.
    pub fn twin(&self) -> Self {
        let text = String::clone;
        Self {
            name: text(&self.name),
            procs: text(&self.procs),
            controllers: text(&self.controllers),
            subtree_control: text(&self.subtree_control),
            programs: text(&self.programs),
            programs_procs: text(&self.programs_procs),
            above: self.above.try_clone().unwrap(),
        }
    }
}
