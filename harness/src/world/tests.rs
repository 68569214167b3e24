//! What programs in a world can do, and cannot.

use std::time::Duration;

use std::sync::mpsc;

use nix::sys::{
    resource::{Resource, getrlimit},
    signal::{SigHandler, SigSet, Signal, signal},
};

use super::*;

crate::enter!();

fn world() -> World {
    World::new(&Namespace::new("host").unwrap(), &[]).unwrap()
}

fn sh(world: &World, script: &str) -> (Option<i32>, String) {
    sh_in(world, &world.host, script)
}

fn sh_in(world: &World, inside: &Namespace, script: &str) -> (Option<i32>, String) {
    let command = world.command("/bin/sh").args(["-c", script]).inside(inside);
    let output = command.output(Deadline::after(Duration::from_secs(10))).unwrap();
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

/// A program in front of the user is in the user's session, which has no number in here, and its exit status is told; any
/// other is in one of its own.
#[test]
fn who_has_the_terminal_is_in_its_session() {
    let world = world();
    let script = "read -r _ _ _ _ _ session _ </proc/self/stat; [ $session -eq 0 ] && exit 7; exit 8";
    let status = world.command("/bin/sh").args(["-c", script]).status().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(sh(&world, script), (Some(8), String::new()));
    let error = world.command("/no/such/program").status().unwrap_err().to_string();
    assert!(error.starts_with("starting /no/such/program in namespace host: "), "{error}");
}

/// What a program leaves running is killed with the world, its cgroups however deep go too, and nobody waits for it.
#[test]
fn a_daemon_dies_with_the_world() {
    let world = world();
    let script = "i=/sys/fs/cgroup; n=0; while [ $n -lt 300 ]; do i=$i/d; mkdir $i 2>/dev/null || break; n=$((n+1)); done; sleep 1000 & echo started";
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

/// PID 1 and its keeper are in sessions of their own: who kills a test's process group does not kill them.
#[test]
fn the_keeper_is_in_no_group_of_the_test() {
    let world = world();
    // Group and session, as in proc(5).
    assert_eq!(sh(&world, "cut -d' ' -f1,5,6 /proc/1/stat").1, "1 1 1");
    let keeper = world.keeper.id();
    let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap();
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!([fields[4], fields[5]], [keeper.to_string(), keeper.to_string()], "{stat}");
    let keepers = format!("/proc/{keeper}/ns/pid");
    assert_eq!(fs::read_link(keepers).unwrap(), fs::read_link("/proc/self/ns/pid").unwrap());
}

/// PID 1 holds nothing of the machine, and takes no signal of the test's.
#[test]
fn pid_1_holds_nothing() {
    // SAFETY: no handler is set.
    unsafe { signal(Signal::SIGUSR2, SigHandler::SigIgn).unwrap() };
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.thread_block().unwrap();
    let world = world();
    let (_, held) = sh(&world, "cd /proc/1/fd && for fd in *; do readlink $fd; done; readlink /proc/1/cwd");
    let held: Vec<_> = held.lines().collect();
    assert!(held.len() == 2 && held[0].starts_with("pipe:") && held[1] == "/", "{held:?}");
    let of = |process: &str, kind| sh(&world, &format!("grep ^Sig{kind}: /proc/{process}/status")).1[8..].to_owned();
    assert_eq!((of("self", "Blk"), of("self", "Ign")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!((&of("1", "Blk")[..8], of("1", "Cgt")), ("ffffffff", "0".repeat(16)));
}

/// Waits for `code` on another thread: the world's end must not hang.
fn in_time<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(code()));
    told.recv_timeout(Duration::from_secs(8)).expect("it takes no longer than 8 s")
}

/// A spawned program that nobody waits for does not hold up the end of the world, and is reaped by it.
#[test]
fn a_spawned_program_is_reaped() {
    let world = world();
    let running = world.command("/bin/sleep").arg("1000").spawn().unwrap();
    let ended = world.command("/bin/true").spawn().unwrap();
    in_time(move || drop(world));
    for child in [running, ended] {
        let there = Path::new("/proc").join(child.id().to_string());
        let stat = fs::read_to_string(there.join("stat")).unwrap_or_default();
        assert!(!stat.contains(&format!(" {} ", std::process::id())), "{stat}");
    }
}

/// A daemon goes on printing after the program that started it has ended, and is not killed for it.
#[test]
fn a_daemon_may_print() {
    let world = world();
    let lines =
        "while [ ! -e /tmp/go ]; do sleep 0.01; done; i=0; while [ $i -lt 30000 ]; do echo line; i=$((i+1)); done";
    let started = sh(&world, &format!("(sh -c '{lines}'; echo $? >/tmp/status) 2>&1 & echo started"));
    assert_eq!(started, (Some(0), "started".into()));
    let waited = sh(&world, "echo >/tmp/go; while [ ! -s /tmp/status ]; do sleep 0.01; done; cat /tmp/status");
    assert_eq!(waited, (Some(0), "0".into()));
}

/// What belongs to the machine, not to the namespace, cannot be written; what belongs to the devices of the program's
/// namespace can, and no other's are to be seen. So it is in any namespace, and the cgroup is there.
#[rstest::rstest]
#[case::host(None)]
#[case::another(Some("netns1"))]
fn settings_of_the_machine_are_read_only(#[case] another: Option<&str>) {
    let world = world();
    let another = another.map(|name| Namespace::new(name).unwrap());
    let inside = another.as_ref().unwrap_or(&world.host);
    world.host.apply(crate::link::Bridge::new("br7").request()).unwrap();
    inside.apply(crate::link::Bridge::new("br0").request()).unwrap();
    let sh = |script| sh_in(&world, inside, script);
    let links = if another.is_some() { "br0\nlo" } else { "br0\nbr7\nlo" };
    assert_eq!(
        sh("ls -I bonding_masters -I'*tunl0' -I'sit0' -I'gre*' -I'erspan0' -I'ip*' /sys/class/net"),
        (Some(0), links.into())
    );
    assert_eq!(
        sh("echo 500 >/sys/class/net/br0/bridge/forward_delay; echo 1 >/proc/sys/net/ipv4/ip_forward").0,
        Some(0)
    );
    if world.has_cgroup() {
        assert_eq!(sh("mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine"), (Some(0), String::new()));
    }
    // Whether it may be written is asked, never tried.
    let (_, found) =
        sh("find /sys /proc/sys /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger -writable ! -type l 2>/dev/null");
    let allowed = ["/sys/devices/virtual/net", "/sys/fs/cgroup", "/proc/sys/net"];
    let other: Vec<_> = found.lines().filter(|path| !allowed.iter().any(|allowed| path.starts_with(allowed))).collect();
    assert!(
        other.is_empty(),
        "{} of {}: {:?}",
        other.len(),
        found.lines().count(),
        other.iter().take(10).collect::<Vec<_>>()
    );
    assert!(found.contains("/proc/sys/net/ipv4/ip_forward"), "{found}");
    assert!(!found.contains("nf_hooks_lwtunnel"), "a setting that all namespaces share");
}

/// That a program of the lab's has made every mount shared does not let a node's /sys come over the lab's.
#[test]
fn a_nodes_sys_is_nowhere_else() {
    let world = world();
    let other = Namespace::new("netns1").unwrap();
    world.host.apply(crate::link::Bridge::new("br0").request()).unwrap();
    assert_eq!(sh(&world, "mount --make-rshared /"), (Some(0), String::new()));
    let has_bridge = "test -e /sys/class/net/br0";
    for _ in 0..2 {
        assert_eq!(sh_in(&world, &other, has_bridge).0, Some(1));
        assert_eq!(sh(&world, has_bridge).0, Some(0));
    }
}

/// A program in a node learns of namespaces that come later, and holds none that goes.
#[test]
fn a_nodes_program_sees_later_namespaces() {
    let world = world();
    let [other, late] = ["netns1", "late"].map(|name| Namespace::new(name).unwrap());
    let script =
        "until [ -e /run/netns/late ]; do :; done; echo came; while [ -e /run/netns/late ]; do :; done; echo went";
    let watcher = world.command("sh").args(["-c", script]).inside(&other).spawn().unwrap();
    world.bind("late", &late).unwrap();
    crate::expect!(watcher.stdout(), "came\n");
    world.unbind("late").unwrap();
    crate::expect!(watcher.stdout(), "came\nwent\n");
}

/// A program has no terminal of the user's, no right to load modules, and not all memory of the machine for its files.
#[test]
fn a_program_is_kept_short() {
    let world = world();
    let (_, ids) = sh(&world, "echo $$; cut -d' ' -f5,6,7 /proc/self/stat; (: </dev/tty) 2>/dev/null && echo terminal");
    let lines: Vec<_> = ids.lines().collect();
    assert_eq!(lines[1..], [format!("{0} {0} 0", lines[0])], "a session of its own, and no terminal");
    let capabilities = thread::scope(|scope| {
        let inherit = || {
            let mut sets = sys::capabilities().unwrap();
            sets[0][2] |= sets[0][1];
            sys::set_capabilities(&sets).unwrap();
            sh(&world, "awk '/^Cap/ { print $1 $2 }' /proc/self/status").1
        };
        scope.spawn(inherit).join().unwrap()
    });
    for line in capabilities.lines() {
        let (kind, set) = line.split_once(':').unwrap();
        let set = u64::from_str_radix(set, 16).unwrap();
        assert_eq!(set & 1 << 16, 0, "CAP_SYS_MODULE in {kind}");
    }
    let (_, mounts) = sh(&world, "grep ' - tmpfs ' /proc/self/mountinfo | grep -v size=");
    let ours: Vec<_> = mounts
        .lines()
        .filter(|line| [" /run ", " /tmp ", " /dev ", " /dev/shm "].iter().any(|on| line.contains(on)))
        .collect();
    let sizes = sh(&world, "df -k /run /tmp /dev /dev/shm | awk 'NR > 1 && $2 > 1048576'").1;
    assert_eq!(sizes, "", "{ours:?}");
}

/// A program may have as many files open as this process could before it raised its own limit.
#[test]
fn a_program_has_the_users_limits() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    limits::raise();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    let (was, _) = limits::descriptors().unwrap();
    // Unless another test was here before.
    assert!(was == soft || soft == hard, "{was} {soft} {hard}");
    assert_eq!(sh(&world(), "ulimit -Sn; ulimit -Hn"), (Some(0), format!("{was}\n{hard}")));
}

/// What a container engine does first works: mounts of every kind, devices, and namespaces within.
#[test]
fn engines_find_what_they_need() {
    let world = world();
    let script = "set -e; mkdir /tmp/m; cd /tmp/m; mkdir t p c s l u w o; \
        mount -t tmpfs none t; mount -t proc proc p; mount -t sysfs sysfs s; mount --rbind / l; umount -l l; \
        grep -q 4294967295 /proc/self/uid_map && mknod n c 1 3 && echo x >n; \
        mkdir t/l t/u t/w; mount -t overlay overlay -o lowerdir=t/l,upperdir=t/u,workdir=t/w o; echo x >o/file; cat t/u/file; \
        for d in null zero full random urandom tty ptmx pts shm; do test -e /dev/$d || echo no $d; done; \
        unshare -mpnif --mount-proc sh -c 'echo $$; ls /proc/self/exe /sys/class/net'; umount -R t p s o";
    assert_eq!(sh(&world, script), (Some(0), "x\n1\n/proc/self/exe\n\n/sys/class/net:\nlo".into()));
    if world.cgroup.is_some() {
        let script = "set -e; mkdir /tmp/c; mount -t cgroup2 none /tmp/c; ls -d /tmp/c/programs; cd /sys/fs/cgroup; mkdir mine; \
            for c in $(cat cgroup.controllers); do grep -q $c mine/cgroup.controllers || echo no $c; done; \
            sh -c 'echo $$ >mine/cgroup.procs; grep 0:: /proc/self/cgroup'; unshare -C true; rmdir mine";
        assert_eq!(sh(&world, script), (Some(0), "/tmp/c/programs\n0::/mine".into()));
    }
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

/// What a program printed is the value where it succeeds; where it does not, what it said is in the error.
#[test]
fn a_failed_program_says_why() {
    let world = world();
    let read = |script| world.command("sh").args(["-c", script]).read(Deadline::after(Duration::from_secs(10)));
    assert_eq!(read("echo one; echo two").unwrap(), "one\ntwo");
    let said =
        "running sh -c echo out; echo no such bridge >&2; exit 3 in namespace host: exit status: 3\n  | no such bridge";
    assert_eq!(read("echo out; echo no such bridge >&2; exit 3").unwrap_err().to_string(), said);
    let slow = world.command("sleep").arg("1000").read(Deadline::exactly(Duration::from_millis(50))).unwrap_err();
    assert_eq!(slow.to_string(), "running sleep 1000 in namespace host: killed, as it had not ended after 50 ms");
}

/// What a program printed before its end is kept, however large it made its pipe.
#[test]
fn nothing_is_lost_at_the_end() {
    const LARGE: &str = "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 18); os.write(1, bytes(1 << 18)); os._exit(0)";
    let world = world();
    for round in 0..10 {
        let output = world.command("python3").args(["-c", LARGE]).output(Deadline::after(Duration::from_secs(10)));
        let output = output.unwrap();
        assert!(output.status.success() && output.stdout.len() == 1 << 18, "{}, round {round}", output.stdout.len());
    }
}

/// A daemon goes on reading what the program that started it was given.
#[test]
fn a_daemon_may_read() {
    let world = world();
    let script = "exec 3<&0; (until [ -e /tmp/go ]; do :; done; wc -c <&3 >/tmp/count) >/dev/null 2>&1 &";
    let started = world.command("sh").args(["-c", script]).stdin(vec![7; 1 << 20]);
    assert!(started.output(Deadline::after(Duration::from_secs(10))).unwrap().status.success());
    let counted = sh(&world, ">/tmp/go; while [ ! -s /tmp/count ]; do sleep 0.01; done; cat /tmp/count");
    assert_eq!(counted, (Some(0), (1 << 20).to_string()));
}

/// Killing a program that has ended kills what it left running in its group.
#[test]
fn what_is_left_of_a_group_is_killed() {
    let world = world();
    let child = world.command("sh").args(["-c", "sleep 1000 & echo started"]).spawn().unwrap();
    crate::expect!(child.stdout(), "started\n");
    crate::expect!(world.processes(), [left] if left.command == "sleep 1000");
    child.kill().unwrap();
    crate::expect!(world.processes(), []);
}

/// A program that prints without end is not heard out.
#[test]
fn an_endless_printer_has_a_deadline() {
    let endless = world();
    let endless = endless.command("/bin/sh").args(["-c", "yes & yes & exec yes"]);
    let output = endless.output(Deadline::exactly(Duration::from_millis(300))).unwrap();
    assert!(output.timed_out);
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
    // Nobody writes to it.
    sh(&world, "mkfifo /tmp/fifo");
    let world = in_time(move || {
        assert!(world.open_netns("late", "/tmp/fifo").is_err());
        world
    });
    world.unbind("late").unwrap();
    assert!(world.open_netns("late", "/run/netns/late").is_err());
}
