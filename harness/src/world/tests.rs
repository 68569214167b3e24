//! What programs in a world can do, and cannot.

use std::time::Duration;

use super::*;
use crate::Deadline;

fn world() -> World {
    World::new(&Namespace::new("host").unwrap(), &[]).unwrap()
}

fn sh(world: &World, script: &str) -> (Option<i32>, String) {
    let output =
        world.command("/bin/sh").args(["-c", script]).output(Deadline::after(Duration::from_secs(10))).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.trim_end().to_owned())
}

/// A program is in the lab's network, sees the lab's processes only, and has an empty /run and /tmp.
#[test]
fn a_program_sees_the_lab() {
    let world = world();
    assert_eq!(sh(&world, "ls /sys/class/net"), (Some(0), "lo".into()));
    assert_eq!(sh(&world, "ls /run /tmp"), (Some(0), "/run:\nnetns\n\n/tmp:".into()));
    let (_, processes) = sh(&world, "ls -d /proc/[0-9]*");
    assert!(processes.starts_with("/proc/1\n") && processes.lines().count() < 5, "{processes}");
    assert_eq!(
        sh(&world, "pwd; echo $HOME; echo hello >/etc/np-test && echo there >/var/np-test && cat /etc/np-test").1,
        format!("{SCRATCH}\n{SCRATCH}\nhello")
    );
    assert!(!Path::new("/etc/np-test").exists() && !Path::new("/var/np-test").exists());
    assert_eq!(sh(&world, "echo 1 >/proc/sys/kernel/printk").0, Some(2));
    assert_eq!(sh(&world, "echo 1 >/proc/sys/net/ipv4/ip_forward").0, Some(0));
}

/// What a program leaves running is killed with the world, its cgroups however deep go too, and nobody waits for it.
#[test]
fn a_daemon_dies_with_the_world() {
    let world = world();
    let script = "i=/sys/fs/cgroup; n=0; while [ $n -lt 60 ]; do i=$i/d; mkdir $i || break; n=$((n+1)); done; sleep 1000 & echo started";
    let (status, text) = sh(&world, script);
    assert_eq!((status, text.lines().last()), (Some(0), Some("started")));
    let watcher = cgroup::Subtree::planned().unwrap().map(|_| world.cgroup.as_ref().map(cgroup::Subtree::is_there));
    assert_ne!(watcher, Some(Some(false)), "the world has a cgroup of its own");
    let left = world.cgroup.as_ref().map(cgroup::Subtree::twin);
    drop(world);
    assert!(left.is_none_or(|left| !left.is_there()));
}

/// What runs in one namespace is killed, and nothing else.
#[test]
fn a_namespaces_processes_are_killed() {
    let world = world();
    let other = Namespace::new("other").unwrap();
    for namespace in [&other, &world.host] {
        let daemon = world.command("/bin/sh").args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).inside(namespace);
        assert!(daemon.output(Deadline::after(Duration::from_secs(10))).unwrap().status.success());
    }
    world.kill_in(&other).unwrap();
    let one_is_left = "until [ \"$(cat /proc/[0-9]*/comm 2>/dev/null | grep -c sleep)\" = 1 ]; do :; done";
    assert_eq!(sh(&world, one_is_left).0, Some(0));
}

/// A program that takes too long is killed with its group; one that prints too much is cut off; input need not be read.
#[test]
fn a_program_has_limits() {
    let world = world();
    let slow = world
        .command("/bin/sh")
        .args(["-c", "sleep 100 & sleep 100"])
        .output(Deadline::exactly(Duration::from_millis(200)));
    assert!(slow.unwrap().timed_out);
    let flood = world.command("/bin/sh").args(["-c", "head -c 3000000 /dev/zero"]).stdin(vec![7; 1 << 20]);
    let flood = flood.output(Deadline::after(Duration::from_secs(10))).unwrap();
    assert!(
        flood.too_much && flood.stdout.len() == 1 << 20 && flood.status.success(),
        "{:?} {}",
        flood.status,
        flood.stdout.len()
    );
}

/// Namespaces are known by their names, late ones too.
#[test]
fn namespaces_are_bound_by_name() {
    let world = world();
    let late = Namespace::new("late").unwrap();
    world.bind("late", &late).unwrap();
    let opened = world.open_netns("late", "/run/netns/late").unwrap();
    assert!(opened.is_same(&late).unwrap());
    assert!(world.open_netns("late", "/run/netns").is_err());
    world.unbind("late").unwrap();
    assert!(world.open_netns("late", "/run/netns/late").is_err());
}
