//! The way in: an ordinary user's process enters a user namespace of its own, in which it may do what labs need.
//!
//! That works only while the process has one thread, and `cargo test` has many from the start: so [`enter!`](macro@crate::enter)
//! puts one line of a test crate before `main`. A constructor hidden in this crate would change every program that links it.

use std::{
    fs,
    io::{self, Read},
    sync::{Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, fork, getegid, geteuid, pipe2, write},
};

use crate::{Error, Result};

/// Enters a user namespace before `main`, where the process has not the capabilities for labs: one line in a test crate.
///
/// It does nothing where they suffice, and where it is refused it leaves the process as it was; it never prints or panics:
/// what went wrong, the first lab tells.
///
/// ```
/// netproof::enter!();
/// ```
#[macro_export]
macro_rules! enter {
    () => {
        const _: () = {
            extern "C" fn enter() {
                $crate::enter_now();
            }
            #[used]
            #[unsafe(link_section = ".init_array")]
            static ENTER: extern "C" fn() = enter;
        };
    };
}

/// What came of entering: why it was refused, where it was tried in vain.
static REFUSED: Mutex<Option<Refusal>> = Mutex::new(None);

/// What [`enter!`](macro@crate::enter) does, for a program that calls it first in `main`.
pub fn enter_now() {
    if has_capabilities() {
        return;
    }
    // In a child first: a process that may make a user namespace but not map its user into it (an AppArmor that guards
    // them) would be left as nobody, who can do less than the user could.
    let entered = tried_in_a_child().and_then(|()| enter_namespace());
    *REFUSED.lock().unwrap_or_else(PoisonError::into_inner) = entered.err();
}

/// The step that failed, of [`STEPS`], and the number of the error.
type Refusal = (usize, i32);

const STEPS: [&str; 6] = [
    "making a user namespace",
    "giving up setgroups",
    "mapping the user",
    "mapping the group",
    "making a network namespace in a user namespace",
    "forking",
];

/// Puts this process into a user namespace of its own, in which its user is root.
fn enter_namespace() -> std::result::Result<(), Refusal> {
    let (user, group) = (geteuid(), getegid());
    let failed = |step| move |error: io::Error| (step, error.raw_os_error().unwrap_or(libc::EIO));
    unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from).map_err(failed(0))?;
    // Without this the group map is refused.
    fs::write("/proc/self/setgroups", "deny").map_err(failed(1))?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(failed(2))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(failed(3))
}

/// What came of the same in a child, and whether it could then do what labs need.
fn tried_in_a_child() -> std::result::Result<(), Refusal> {
    let failed = |error: Errno| (5, error as i32);
    let (told, tell) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    // SAFETY: there is one thread yet, or a user namespace cannot be entered; if there are more, the child may wait for
    // a lock of the allocator's only where the C library does not see to that at a fork (glibc and musl do).
    match unsafe { fork() }.map_err(failed)? {
        ForkResult::Child => {
            let able = || unshare(CloneFlags::CLONE_NEWNET).map_err(|error| (4, error as i32));
            let (step, errno) = enter_namespace().and_then(|()| able()).err().unwrap_or_default();
            let _ = write(&tell, &[(step as i32).to_ne_bytes(), errno.to_ne_bytes()].concat());
            // SAFETY: `_exit` has no preconditions: nothing that the parent registered for its end is run.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(tell);
            let mut said = [0; 8];
            let read = fs::File::from(told).read_exact(&mut said);
            // Where the caller ignores SIGCHLD, the kernel has reaped it.
            let _ = waitpid(child, None);
            let [step, errno] =
                [0, 4].map(|at| i32::from_ne_bytes([said[at], said[at + 1], said[at + 2], said[at + 3]]));
            match (read, errno) {
                (Err(_), _) => Err((5, libc::EIO)),
                (Ok(()), 0) => Ok(()),
                (Ok(()), errno) => Err((step as usize, errno)),
            }
        }
    }
}

/// Whether this process may make labs; if not, what would help.
pub fn ready() -> Result<()> {
    // Capabilities within a user namespace that AppArmor guards are there, and do not work: so it is tried.
    if has_capabilities() && may_unshare() {
        return Ok(());
    }
    let refused = *REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let what = match refused {
        Some((step, errno)) => {
            format!(
                "labs need root, or a user namespace, and {} was refused: {}",
                STEPS[step.min(STEPS.len() - 1)],
                io::Error::from_raw_os_error(errno)
            )
        }
        None if has_capabilities() => "the capabilities of this process do not let it make a network namespace".into(),
        None => "labs need CAP_SYS_ADMIN and CAP_NET_ADMIN, and this process entered no user namespace".into(),
    };
    Err(Error::Environment { what, remedy: remedy(refused.is_some()) })
}

fn remedy(tried: bool) -> String {
    let setting = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".into();
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1".into();
    }
    if setting("/proc/sys/user/max_user_namespaces") == "0" {
        return "sudo sysctl -w user.max_user_namespaces=15000".into();
    }
    if tried {
        return "run it as root, or in a container started with --privileged".into();
    }
    "put the line `netproof::enter!();` into the test crate, or run it as root".into()
}

fn may_unshare() -> bool {
    crate::namespace::on_a_thread(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)).is_ok()
}

/// Whether CAP_NET_ADMIN and CAP_SYS_ADMIN are in effect: not who the user is.
fn has_capabilities() -> bool {
    const NEEDED: u64 = 1 << 12 | 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    effective & NEEDED == NEEDED
}
