//! The system calls that need `unsafe`, each with its reason.

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process,
};

use nix::unistd::ForkResult;

/// `fork(2)`, from a thread of a process that may have others.
pub(super) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the child only runs code of `world::init`, which takes no lock that another thread may
    // have held: no stdio, no environment, no runtime. It may allocate: glibc makes its allocator usable in the child.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Ends a forked child without running what the parent has registered for its own end.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor of a forked child but these.
pub(super) fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 0;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if number > first {
            let last = if number == u32::MAX { u32::MAX } else { number - 1 };
            // SAFETY: the descriptors belong to a child that uses none of them: its parent's owners are not run in it.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = number.saturating_add(1);
    }
}

/// Has the kernel reap what PID 1 inherits.
pub(super) fn reap_by_itself() {
    // SAFETY: no handler is set, only the default disposition replaced.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Takes the right to load kernel modules from the calling thread's children.
pub(super) fn drop_module_loading() -> io::Result<()> {
    const CAP_SYS_MODULE: libc::c_ulong = 16;
    // SAFETY: changes the bounding set of the calling thread only.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_MODULE, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the command's process join a cgroup, by its open `cgroup.procs`, before it becomes the program.
pub(super) fn join_cgroup(command: &mut process::Command, procs: OwnedFd) {
    let join = move || {
        // SAFETY: writes two bytes that are there, to a descriptor that the closure owns.
        match unsafe { libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) } {
            1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(join) };
}

/// Opens the network namespace at `path`, from a thread that has the world's mounts: a thread outside the PID namespace
/// finds no /proc/self there, but /proc/4711 well, for it is the mount that decides the numbers.
pub(super) fn open_netns(path: &str) -> io::Result<OwnedFd> {
    let file = std::fs::File::open(path)?;
    // SAFETY: asks for the kind of namespace, which takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        return Err(io::Error::other("it is no network namespace"));
    }
    Ok(file.into())
}

/// `_IO(0xb7, 0x3)` of `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
