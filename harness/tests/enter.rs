//! What `enter!` does to a process of an ordinary user, whom a lab is then for, or is not.

#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path, process::Command};

use netproof::{Deadline, Lab, Namespace, World};
use nix::unistd::geteuid;

netproof::enter!();

/// Runs the test `name` of this file as nobody, after `first` in a mount namespace of its own. Only root can become nobody.
fn as_nobody(name: &str, first: &str) -> Option<(bool, String)> {
    if !is_root_of_the_machine() {
        return None;
    }
    // Where nobody can get at it.
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("test");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    Command::new("chmod").arg("-R").arg("a+rX").arg(place.path()).status().unwrap();
    let script = format!(
        "{first}; cd /; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" --exact {name} --ignored --nocapture"
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

fn is_root_of_the_machine() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    geteuid().is_root() && map.split_whitespace().nth(2) == Some("4294967295")
}

/// A process that may make a user namespace, but not map its user into it, stays what it was; the first lab says why.
#[test]
fn a_refusal_leaves_the_process_as_it_was() {
    // The maps are written through /proc.
    let Some((passed, text)) = as_nobody("refused", "mount -o remount,bind,ro /proc") else { return };
    assert!(passed, "{text}");
}

#[test]
#[ignore = "run by the test above"]
fn refused() {
    assert_eq!(geteuid().as_raw(), 65534);
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(map.split_whitespace().next(), Some("0"), "in no user namespace of its own: {map:?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let Err(error) = Lab::of("pair") else { panic!("there is a lab") };
    let text = error.to_string();
    assert!(text.contains("giving up setgroups was refused: Read-only file system"), "{text}");
    assert!(text.contains("run it as root"), "{text}");
}

/// An ordinary user's world: folders with something mounted below are seen in it, read-only, with what is below.
#[test]
fn a_users_world_stands() {
    let first = "mount -t tmpfs -o mode=755 none /mnt; mkdir /mnt/below; mount -t tmpfs -o mode=777 none /mnt/below; echo deep >/mnt/below/file";
    let Some((passed, text)) = as_nobody("users_world", first) else { return };
    assert!(passed, "{text}");
}

#[test]
#[ignore = "run by the test above"]
fn users_world() {
    netproof::enter::ready().unwrap();
    let world = World::new(&Namespace::new("host").unwrap(), &[Path::new("/mnt").into()]).unwrap();
    let script = "cat /mnt/below/file; (echo x >/mnt/below/file) 2>/dev/null || echo read-only; id -u; cut -d' ' -f1,5,6 /proc/1/stat; \
        readlink /proc/1/fd/* | grep -v ^pipe: ; ls /sys/class/net; mkdir /tmp/t && mount -t tmpfs none /tmp/t && \
        unshare -mpnif --mount-proc sh -c 'echo $$' && echo 1 >/proc/sys/net/ipv4/ip_forward";
    let output =
        world.command("/bin/sh").args(["-c", script]).output(Deadline::after(std::time::Duration::from_secs(10)));
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(text, "deep\nread-only\n0\n1 1 1\nlo\n1\n");
}
