//! The system calls that need `unsafe`, each with its reason.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::OpenOptionsExt, process::CommandExt},
    },
    path::Path,
    process,
};

use nix::unistd::ForkResult;

/// `fork(2)`, from a thread of a process that may have others.
pub(super) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the child only runs code of `world::init`, which after the fork makes system calls only, on what was
    // prepared before: it allocates nothing, takes no lock, and leaves by `_exit`.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Ends a forked child without running what the parent has registered for its own end.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor of a forked child but these.
pub(super) fn close_all_but(kept: &[Option<BorrowedFd<'_>>; 4]) {
    let mut numbers = kept.map(|fd| fd.map_or(u32::MAX, |fd| fd.as_raw_fd() as u32));
    numbers.sort_unstable();
    let mut first = 0;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if number > first {
            let last = if number == u32::MAX { u32::MAX } else { number - 1 };
            // SAFETY: the descriptors belong to a child that uses none of them: its parent's owners are not run in it.
            if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
                for number in first..=last.min(1 << 16) {
                    // SAFETY: as above, one by one: before Linux 5.9.
                    unsafe { libc::close(number as i32) };
                }
            }
        }
        first = number.saturating_add(1);
    }
}

/// Makes a forked child independent of the process that it came from: its session and process group, its folder, its
/// signals (all blocked: it is to be ended by SIGKILL only), its name.
pub(super) fn stand_apart(name: &CStr) {
    default_dispositions();
    let all = !0_u64;
    // SAFETY: the pointers are to a mask of the length said and to two texts. A fork leads no group: setsid works.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null::<u64>(),
            size_of::<u64>(),
        );
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
}

/// Every signal does again what it does by default.
fn default_dispositions() {
    // A `struct sigaction` of the kernel's that says SIG_DFL is all zero. The C library would refuse its own two signals.
    let action = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: the kernel reads no more than that; no handler is set, and what cannot be changed is refused.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), std::ptr::null::<u64>(), size_of::<u64>())
        };
    }
}

/// Has the kernel reap what PID 1 inherits.
pub(super) fn reap_by_itself() {
    // SAFETY: no handler is set, only the default disposition replaced.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Takes the right to load kernel modules from the calling thread and its children: from every set, for what is
/// inheritable would come back with the next program that root executes.
pub(super) fn drop_module_loading() -> io::Result<()> {
    const CAP_SYS_MODULE: u32 = 16;
    let mut sets = capabilities()?;
    // SAFETY: changes the bounding set of the calling thread only.
    if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(CAP_SYS_MODULE), 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for set in &mut sets[0] {
        *set &= !(1 << CAP_SYS_MODULE);
    }
    set_capabilities(&sets)
}

/// Effective, permitted, inheritable: of the capabilities 0 to 31, then of those above.
type Capabilities = [[u32; 3]; 2];

/// `_LINUX_CAPABILITY_VERSION_3` and the calling thread, as capget(2) and capset(2) want them.
const THIS_THREAD: [u32; 2] = [0x2008_0522, 0];

/// The calling thread's capabilities.
pub(super) fn capabilities() -> io::Result<Capabilities> {
    let (mut header, mut sets) = (THIS_THREAD, Capabilities::default());
    // SAFETY: both have the layout that this version asks for.
    match unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) } {
        0 => Ok(sets),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets them; what leaves the permitted or the inheritable set leaves the ambient one by itself.
pub(super) fn set_capabilities(sets: &Capabilities) -> io::Result<()> {
    let mut header = THIS_THREAD;
    // SAFETY: as above; changes the calling thread only.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the command's process does before it becomes the program: it takes signals and file modes as they are by default,
/// begins a session, without the user's terminal, unless it is to have that, joins the cgroup whose open `cgroup.procs`
/// this is, and has these limits, soft and hard, of open files.
pub(super) fn set_apart(
    command: &mut process::Command,
    has_session: bool,
    procs: Option<OwnedFd>,
    files: Option<(u64, u64)>,
) {
    let files = files.map(|(soft, hard)| libc::rlimit { rlim_cur: soft, rlim_max: hard });
    let prepare = move || {
        default_dispositions();
        // SAFETY: the pointers are to two bytes that are there, for a descriptor that the closure owns, and to limits of
        // its own.
        unsafe {
            libc::umask(0o022);
            if let Some(files) = &files {
                libc::setrlimit(libc::RLIMIT_NOFILE, files);
            }
            if has_session && libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            match &procs {
                Some(procs) if libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1 => {
                    Err(io::Error::last_os_error())
                }
                _ => Ok(()),
            }
        }
    };
    // SAFETY: the closure makes system calls only, allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}

/// Makes a mount, and every mount below it, read-only, whatever other flags they have (since Linux 5.12).
pub(super) fn set_read_only(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    // SAFETY: a text that ends with a zero, and a `struct mount_attr` of four 64-bit numbers, with its length.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The name of a folder in a folder.
pub(super) struct Name {
    bytes: [u8; 256],
}

impl Name {
    pub fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// The first folder in an open folder, as `getdents64(2)` lists it, without allocating: what `readdir(3)` cannot do.
pub(super) fn first_folder(folder: &OwnedFd) -> io::Result<Option<Name>> {
    const BUFFER: usize = 4096;
    const LENGTH_AT: usize = 16;
    const KIND_AT: usize = 18;
    const NAME_AT: usize = 19;
    let mut buffer = [0_u8; BUFFER];
    // SAFETY: a seek to the start.
    unsafe { libc::lseek(folder.as_raw_fd(), 0, libc::SEEK_SET) };
    loop {
        // SAFETY: a read into a buffer of the length said.
        let count = unsafe { libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), buffer.as_mut_ptr(), BUFFER) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut entries = &buffer[..count as usize];
        if entries.is_empty() {
            return Ok(None);
        }
        while entries.len() > NAME_AT {
            let length = usize::from(u16::from_ne_bytes([entries[LENGTH_AT], entries[LENGTH_AT + 1]]));
            let (entry, rest) = entries.split_at(length.clamp(NAME_AT, entries.len()));
            entries = rest;
            let name = entry[NAME_AT..].split(|byte| *byte == 0).next().unwrap_or_default();
            if entry[KIND_AT] == libc::DT_DIR && name != b"." && name != b".." && name.len() < 256 {
                let mut bytes = [0; 256];
                bytes[..name.len()].copy_from_slice(name);
                return Ok(Some(Name { bytes }));
            }
        }
    }
}

/// Opens the network namespace at `path`, from a thread that has the world's mounts: a thread outside the PID namespace
/// finds no /proc/self there, but /proc/4711 well, for it is the mount that decides the numbers.
pub(super) fn open_netns(path: &str) -> io::Result<OwnedFd> {
    // Whatever lies there instead, a FIFO without a writer or a terminal, is not waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // SAFETY: asks for the kind of namespace, which takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        return Err(io::Error::other("it is no network namespace"));
    }
    Ok(file.into())
}

/// `_IO(0xb7, 0x3)` of `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
