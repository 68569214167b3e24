//! The way in: an ordinary user's process enters a user namespace of its own, in which it may do what labs need.
//!
//! That works only while the process has one thread, and `cargo test` has many from the start: so [`enter!`](macro@crate::enter)
//! puts one line of a test crate before `main`. A constructor hidden in this crate would change every program that links it.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::{Error, Result};

/// Enters a user namespace before `main`, where the process has not the capabilities for labs: one line in a test crate.
///
/// It does nothing where they suffice, and never prints or panics; what went wrong, the first lab tells.
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
static REFUSED: Mutex<Option<(&'static str, i32)>> = Mutex::new(None);

/// What [`enter!`](macro@crate::enter) does, for a program that calls it first in `main`.
pub fn enter_now() {
    if has_capabilities() {
        return;
    }
    let (user, group) = (geteuid(), getegid());
    let steps = || -> std::result::Result<(), (&'static str, io::Error)> {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| ("making a user namespace", error.into()))?;
        // Without this the group map is refused.
        fs::write("/proc/self/setgroups", "deny").map_err(|error| ("giving up setgroups", error))?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(|error| ("mapping the user", error))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(|error| ("mapping the group", error))
    };
    if let Err((what, error)) = steps() {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        *REFUSED.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, errno));
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
        Some((what, errno)) => {
            format!(
                "labs need root, or a user namespace, and {what} was refused: {}",
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
