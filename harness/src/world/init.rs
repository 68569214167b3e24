//! PID 1 of a world: it sees to it that nothing outlives the world.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns, unshare},
    unistd::{ForkResult, Pid, pipe2},
};
use rustix::process::{PidfdFlags, pidfd_open};

use super::{cgroup::Subtree, mounts, sys};
use crate::Namespace;

/// A PID 1 that is ready.
pub(super) struct Started {
    pub pid: Pid,
    pub lifeline: OwnedFd,
}

/// Makes the world's namespaces and mounts from the calling thread, which must be given up afterwards, and forks PID 1.
pub(super) fn start(host: &Namespace, folders: &[PathBuf], cgroup: Option<&Subtree>) -> io::Result<Started> {
    let (lifeline_end, lifeline) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let (told, tell) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let myself = rustix::process::getpid();
    let parent = pidfd_open(myself, PidfdFlags::empty())?;
    setns(host, CloneFlags::CLONE_NEWNET)?;
    let rest = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID;
    unshare(rest)?;
    mounts::before_fork(folders)?;
    let kept = Kept { parent, lifeline: lifeline_end, tell, cgroup };
    match sys::fork()? {
        ForkResult::Child => sys::exit(run(kept)),
        ForkResult::Parent { child } => {
            drop(kept);
            ready(told)?;
            cgroup.map(|cgroup| cgroup.expel(child)).transpose()?;
            Ok(Started { pid: child, lifeline })
        }
    }
}

/// What PID 1 says once it is ready: nothing but a zero, or the number of the error that it met.
fn ready(told: OwnedFd) -> io::Result<()> {
    let mut said = [0; 4];
    std::fs::File::from(told).read_exact(&mut said)?;
    match i32::from_ne_bytes(said) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// What PID 1 keeps of what it inherits.
struct Kept<'a> {
    parent: OwnedFd,
    lifeline: OwnedFd,
    tell: OwnedFd,
    cgroup: Option<&'a Subtree>,
}

/// PID 1's whole life.
fn run(kept: Kept<'_>) -> i32 {
    let own = [&kept.parent, &kept.lifeline, &kept.tell].map(|fd| fd.as_fd());
    let of_cgroup = kept.cgroup.map(Subtree::descriptor);
    sys::close_all_but(&own.into_iter().chain(of_cgroup).collect::<Vec<_>>());
    sys::reap_by_itself();
    let Kept { parent, lifeline, tell, cgroup } = kept;
    let set_up = || -> io::Result<()> {
        let back = cgroup.map(Subtree::enter).transpose()?;
        // Without a subtree, too: programs are to enter it, and nobody may enter the machine's from a user namespace.
        unshare(CloneFlags::CLONE_NEWCGROUP)?;
        if let Some(back) = back {
            // An older kernel refuses; then the test process moves us, as long as there is one.
            let _ = back.take();
        }
        mounts::after_fork(cgroup.is_some())
    };
    let errno = set_up().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
    let told = std::fs::File::from(tell).write_all(&errno.to_ne_bytes());
    if errno == 0 && told.is_ok() {
        until_over(&parent, &lifeline);
    }
    // Everything in this PID namespace but ourselves.
    let _ = nix::sys::signal::kill(Pid::from_raw(-1), nix::sys::signal::Signal::SIGKILL);
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
    0
}

/// Waits until the process that made this world is gone, or lets go of the lifeline.
fn until_over(parent: &OwnedFd, lifeline: &OwnedFd) {
    loop {
        let mut ready =
            [PollFd::new(parent.as_fd(), PollFlags::POLLIN), PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) if ready.iter().any(|fd| fd.revents().is_some_and(|events| !events.is_empty())) => return,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// `mount(2)` with few words.
pub(super) fn mount_fs(kind: &str, on: &str, flags: MsFlags, data: Option<&str>) -> io::Result<()> {
    Ok(mount(Some(kind), on, Some(kind), flags, data)?)
}
