//! The keeper of a world, and its PID 1: they see to it that nothing outlives the world.
//!
//! The keeper is a process outside the world's PID namespace: what it holds of the machine (the folder of the cgroup
//! above) the world's programs, which are root, cannot reach through `/proc/1/fd`. PID 1 only reaps, and holds nothing.
//! Each is in a session of its own, so that killing the process group of a test (as test runners do after a time-out)
//! leaves the keeper to do its work. From their forks on both make system calls only: no allocation, no lock.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns, unshare},
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{ForkResult, Pid, pipe2, read, write},
};
use rustix::process::{PidfdFlags, pidfd_open};

use super::{
    cgroup::{Entrance, Subtree},
    mounts, sys,
};
use crate::{Deadline, Namespace};

/// The keeper of a world, as the test process holds it; dropped, it ends the world.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: Pid,
    ended: OwnedFd,
    lifeline: Option<OwnedFd>,
}

impl Keeper {
    /// Has it kill everything in the world.
    pub fn end(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            // A word, for closing alone says nothing as long as a fork of this process has a copy.
            let _ = write(&lifeline, b"!");
        }
    }

    /// Waits until it has done so and is gone; past the deadline it goes on by itself.
    pub fn wait(&mut self, deadline: Deadline) {
        if is_ready_by(&self.ended, deadline) {
            let _ = waitpid(self.pid, None);
        }
    }
}

#[cfg(test)]
impl Keeper {
    pub fn id(&self) -> Pid {
        self.pid
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.lifeline.is_some() {
            self.end();
            self.wait(Deadline::after(Duration::from_secs(10)));
        }
    }
}

/// Whether the descriptor has something to say before the deadline passes: a pidfd, that its process has ended.
pub(super) fn is_ready_by(fd: &OwnedFd, deadline: Deadline) -> bool {
    deadline.poll(fd, PollFlags::POLLIN).is_ok_and(|events| !events.is_empty())
}

/// Makes the world's namespaces and mounts from the calling thread, which must be given up afterwards, and forks the
/// keeper, which forks PID 1. Returns both, PID 1 as the machine numbers it.
pub(super) fn start(host: &Namespace, folders: &[PathBuf], cgroup: Option<&Subtree>) -> io::Result<(Keeper, Pid)> {
    let (lifeline_end, lifeline) = pipe2(OFlag::O_CLOEXEC)?;
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    setns(host, CloneFlags::CLONE_NEWNET)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    mounts::before_fork(folders)?;
    let kept = Kept { parent, lifeline: lifeline_end, tell, cgroup };
    // The test's handlers are not to run in the children; the thread is given up, so nobody misses its mask.
    SigSet::all().thread_block()?;
    match sys::fork()? {
        ForkResult::Child => sys::exit(keep(&kept)),
        ForkResult::Parent { child } => {
            drop(kept);
            let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or(Errno::ESRCH)?;
            let ended = pidfd_open(pid, PidfdFlags::empty())?;
            let keeper = Keeper { pid: child, ended, lifeline: Some(lifeline) };
            Ok((keeper, ready(told)?))
        }
    }
}

/// What the keeper says once PID 1 is ready: its number and a zero, or the number of the error that was met.
fn ready(told: OwnedFd) -> io::Result<Pid> {
    let mut said = [0; 8];
    std::fs::File::from(told).read_exact(&mut said)?;
    let [pid, errno] = [0, 4].map(|at| i32::from_ne_bytes([said[at], said[at + 1], said[at + 2], said[at + 3]]));
    match errno {
        0 => Ok(Pid::from_raw(pid)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// What the keeper keeps of what it inherits.
struct Kept<'a> {
    parent: OwnedFd,
    lifeline: OwnedFd,
    tell: OwnedFd,
    cgroup: Option<&'a Subtree>,
}

/// PID 1, as the keeper holds it.
struct Init {
    pid: Pid,
    ended: OwnedFd,
    /// PID 1 exits when this closes, which it does when the keeper goes, whatever way.
    _pulse: OwnedFd,
}

/// The keeper's whole life.
fn keep(kept: &Kept<'_>) -> i32 {
    let own = [Some(kept.parent.as_fd()), Some(kept.lifeline.as_fd()), Some(kept.tell.as_fd())];
    sys::close_all_but(&[own[0], own[1], own[2], kept.cgroup.map(Subtree::descriptor)]);
    sys::stand_apart(c"netproof-keeper");
    let made = start_init(kept.cgroup);
    let (pid, errno) = match &made {
        Ok(init) => (init.pid.as_raw(), 0),
        Err(error) => (0, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let mut said = [0; 8];
    said[..4].copy_from_slice(&pid.to_ne_bytes());
    said[4..].copy_from_slice(&errno.to_ne_bytes());
    let told = write(&kept.tell, &said);
    if let Ok(init) = made {
        if told.is_ok() {
            until_over([&kept.parent, &kept.lifeline, &init.ended]);
        }
        // With PID 1 the kernel kills everything that is in the namespace. PID 1 is there until all of it is reaped,
        // which for a test's own children is the test's affair: hence a bound.
        let _ = kill(init.pid, Signal::SIGKILL);
        is_ready_by(&init.ended, Deadline::exactly(Duration::from_secs(2)));
        let _ = waitpid(init.pid, Some(WaitPidFlag::WNOHANG));
    }
    if let Some(cgroup) = kept.cgroup {
        cgroup.remove();
    }
    0
}

/// Waits until the process that made this world is gone, or lets go of the lifeline, or PID 1 was killed.
fn until_over(signs: [&OwnedFd; 3]) {
    loop {
        let mut ready = signs.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) if ready.iter().any(|fd| fd.revents().is_some_and(|events| !events.is_empty())) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Forks PID 1 and waits until it is ready.
fn start_init(cgroup: Option<&Subtree>) -> io::Result<Init> {
    let entrance = cgroup.map(Subtree::make).transpose()?;
    let (pulse_end, pulse) = pipe2(OFlag::O_CLOEXEC)?;
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let pid = match sys::fork()? {
        ForkResult::Child => sys::exit(live(pulse_end, tell, entrance)),
        ForkResult::Parent { child } => child,
    };
    drop((pulse_end, tell, entrance));
    let number = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    let ended = pidfd_open(number, PidfdFlags::empty())?;
    let mut said = [0; 4];
    let errno = match read(&told, &mut said)? {
        4 => i32::from_ne_bytes(said),
        _ => libc::EIO,
    };
    if errno != 0 {
        let _ = waitpid(pid, None);
        return Err(io::Error::from_raw_os_error(errno));
    }
    if let Some(cgroup) = cgroup {
        cgroup.hand_on_controllers();
    }
    Ok(Init { pid, ended, _pulse: pulse })
}

/// PID 1's whole life.
fn live(pulse: OwnedFd, tell: OwnedFd, entrance: Option<Entrance>) -> i32 {
    let [top, programs] = entrance.as_ref().map_or([None, None], |way| way.descriptors().map(Some));
    sys::close_all_but(&[Some(pulse.as_fd()), Some(tell.as_fd()), top, programs]);
    sys::stand_apart(c"netproof-init");
    sys::reap_by_itself();
    let has_cgroup = entrance.is_some();
    let set_up = || -> io::Result<()> {
        match entrance {
            Some(way) => way.enter(|| Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?))?,
            // Without a subtree, too: programs are to enter it, and nobody may enter the machine's from a user namespace.
            None => unshare(CloneFlags::CLONE_NEWCGROUP)?,
        }
        mounts::after_fork(has_cgroup)
    };
    let errno = set_up().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
    let told = write(&tell, &errno.to_ne_bytes());
    drop(tell);
    if errno == 0 && told.is_ok() {
        while poll(&mut [PollFd::new(pulse.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
    0
}

/// `mount(2)` with few words.
pub(super) fn mount_fs(kind: &str, on: &str, flags: MsFlags, data: Option<&str>) -> io::Result<()> {
    Ok(mount(Some(kind), on, Some(kind), flags, data)?)
}
