//! Drivers: good ones, and what is made of bad ones.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use netproof::{
    Deadline, Error, Inventory, Lab, Node, Result, Topology,
    implement::{Driver, Implementation},
    probe::Probe,
    world::write_program,
};
use rstest::rstest;
use tempfile::TempDir;

netproof::enter!();

/// What a driver says of itself, as the first lines of its script.
const DESCRIBE: &str = r#"#!/bin/sh
[ "$1" != describe ] || exec echo '{"protocol":1,"name":"mine","version":"2","verbs":["up","down"],"topologies":["pair"]}'
"#;

/// The commands that build `pair`, before whatever spoils it.
const PAIR: &str = r"
[ $1 != down ] || { ip link del br0; ip link del veth1-0; ip link del veth2-0; exit 0; } 2>/dev/null
set -e
ip link add br0 type bridge
ip link set br0 up
for i in 1 2; do
    ip link add veth$i-0 type veth peer name veth$i-1 netns netns$i
    ip link set veth$i-0 master br0 up
    ip -n netns$i link set lo up
    ip -n netns$i link set veth$i-1 up
done
ip -n netns1 addr add 10.20.30.41/24 dev veth1-1
ip -n netns2 addr add 10.20.20.41/24 dev veth2-1
for i in 1 2; do
    ip -n netns$i route add default dev veth$i-1
    ip -n netns$i link show veth$i-1 >&2
done
";

/// A driver of this text, in a folder of its own, with short limits.
fn driver(script: &str) -> (TempDir, Arc<Driver>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("driver");
    write_program(&path, script).unwrap();
    let driver = Driver::new(&path).unwrap().limit(Duration::from_secs(10));
    (folder, Arc::new(driver))
}

fn prepared(topology: &str, driver: &Arc<Driver>) -> Lab {
    Lab::builder(Topology::shipped(topology).unwrap()).implementation(driver.clone()).prepare().unwrap()
}

/// A lab of `pair`, with a driver that was asked what it is and then for `up`.
fn up(script: &str) -> (Lab, Result<()>, TempDir) {
    let (folder, driver) = driver(script);
    let mut lab = prepared("pair", &driver);
    driver.describe(lab.site()).unwrap();
    let result = lab.up();
    (lab, result, folder)
}

fn shipped(name: &str) -> Arc<Driver> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/drivers").join(name).join("driver");
    Arc::new(Driver::new(path).unwrap())
}

fn answers(from: &Node, to: &Node) -> bool {
    from.ping(to).look(Deadline::after(Duration::from_secs(2))).unwrap().answered()
}

/// A driver of a few lines builds a lab, and takes it down.
///
///     netns1 --- [host: br0] --- netns2
#[rstest]
fn a_small_driver_builds_a_lab() {
    let (mut lab, result, _folder) = up(&format!("{DESCRIBE}{PAIR}"));
    result.unwrap();
    assert!(answers(lab.node("netns1"), lab.node("netns2")));
    lab.down().unwrap();
    lab.down().unwrap();
    assert_eq!(lab.host().links().list().unwrap().len(), 1, "lo");
    lab.up().unwrap();
    assert!(answers(lab.node("netns2"), lab.node("netns1")));
}

/// What is no answer of the protocol's is a failure, and its message says what is wrong.
#[rstest]
#[case::garbage("echo br0 is up", "mine: up: did not print one JSON object: expected value at line 1 column 1")]
#[case::two_objects("echo '{}{}'", "mine: up: did not print one JSON object: trailing characters at line 1 column 3")]
#[case::a_status("echo no such bridge >&2; exit 3", "mine: up: exited with status 3\n  | no such bridge")]
#[case::evidence_of_both(
    "echo '{\"code\":7}'; echo oh >&2; exit 1",
    "mine: up: exited with status 1\n  | oh\n  | standard output:\n  | {\"code\":7}"
)]
#[case::a_signal("kill -SEGV $$", "mine: up: was killed by SIGSEGV")]
#[case::not_supported_but_claimed(
    "exit 89",
    "mine: up: exited with status 89 (not supported) for topology `pair`, which it claims"
)]
#[case::a_flood("head -c 1048577 /dev/zero", "mine: up: printed more than 1 MiB")]
#[case::no_text("printf '{\"a\":\"\\377\"}'", "mine: up: printed something that is not UTF-8, at byte 6")]
#[case::nothing_built("", "read back from the kernel: bridge br0 should be there as `br0`, but host has only lo")]
fn a_wrong_answer_is_a_failure(#[case] script: &str, #[case] expected: &str) {
    let (_lab, result, _folder) = up(&format!("{DESCRIBE}{script}"));
    let error = result.unwrap_err().to_string();
    // What it printed follows as evidence.
    assert_eq!(error.lines().take(expected.lines().count()).collect::<Vec<_>>().join("\n"), expected);
}

/// What a driver says is held against the kernel: `pair` is built, and the reply says something else.
#[rstest]
#[case::another_name(
    r#"{"bridges":[{"name":"br0","is":"docker0"}]}"#,
    "bridge br0 should be there as `docker0`, but host has only lo, br0, veth1-0, veth2-0"
)]
#[case::another_address(
    r#"{"nodes":[{"name":"netns1","interfaces":[{"name":"veth1-1","addresses":["10.20.30.42/24"]}]}]}"#,
    "veth1-1 in netns1 should have 10.20.30.42/24, and has 10.20.30.41/24"
)]
#[case::another_prefix_length(
    r#"{"nodes":[{"name":"netns1","interfaces":[{"name":"veth1-1","addresses":["10.20.30.41/16"]}]}]}"#,
    "veth1-1 in netns1 should have 10.20.30.41/16, and has 10.20.30.41/24"
)]
#[case::another_mtu(
    r#"{"nodes":[{"name":"netns2","interfaces":[{"name":"veth2-1","mtu":1400}]}]}"#,
    "veth2-1 in netns2 should have MTU 1400, and has 1500"
)]
#[case::a_bridge_that_nobody_asked_for(
    r#"{"bridges":[{"name":"br9"}]}"#,
    "the reply names bridge `br9`, which was not asked for"
)]
#[case::the_host_as_a_node(
    r#"{"nodes":[{"name":"netns1","netns":"/run/netns/host"}]}"#,
    "the reply puts netns1 into /run/netns/host, which is the namespace `host`"
)]
#[case::one_namespace_for_two_nodes(
    r#"{"nodes":[{"name":"netns2","netns":"/run/netns/netns1"}]}"#,
    "the reply puts netns1 and netns2 into one namespace"
)]
fn a_lie_is_a_failure(#[case] reply: &str, #[case] expected: &str) {
    let (_lab, result, _folder) = up(&format!("{DESCRIBE}{PAIR}echo '{reply}'"));
    assert_eq!(result.unwrap_err().to_string(), format!("read back from the kernel: {expected}"));
}

/// A path that leads to no namespace is the driver's failure, as where its container has died: no error of the harness.
#[rstest]
#[case::nothing("/proc/999999/ns/net")]
#[case::a_file("/etc/passwd")]
#[case::another_kind("/proc/1/ns/mnt")]
fn a_path_to_nowhere_is_a_failure(#[case] path: &str) {
    let reply = format!(r#"{{"nodes":[{{"name":"netns1","netns":"{path}"}}]}}"#);
    let (_lab, result, _folder) = up(&format!("{DESCRIBE}{PAIR}echo '{reply}'"));
    let error = result.unwrap_err();
    assert!(matches!(error, netproof::Error::ReadBack(_)), "{error}");
    let expected = format!("the reply puts netns1 into {path}, which is no network namespace");
    assert!(error.to_string().contains(&expected), "{error}");
}

/// What a driver did otherwise than asked, and says, is taken; the lab goes on with it.
#[rstest]
fn what_is_declared_is_gone_on_with() {
    let renamed = PAIR.replace("br0", "docker0").replace("10.20.30.41/24", "172.17.0.2/16");
    let reply = r#"{"bridges":[{"name":"br0","is":"docker0"}],
        "nodes":[{"name":"netns1","netns":"/proc/1/root/run/netns/netns1","dns":["172.17.0.1"],
                  "interfaces":[{"name":"veth1-1","addresses":["172.17.0.2/16"]}]}]}"#;
    let (lab, result, _folder) = up(&format!("{DESCRIBE}{renamed}cat <<END\n{reply}\nEND\n"));
    result.unwrap();
    assert_eq!(lab.node("netns1").address().to_string(), "172.17.0.2");
    assert_eq!(lab.topology().bridges[0].name, "docker0");
    assert!(answers(lab.node("netns2"), lab.node("netns1")));
}

/// A driver that hangs is killed with its process group, and that is a failure.
#[rstest]
fn a_hanging_driver_is_killed() {
    let (_folder, driver) = driver(&format!("{DESCRIBE}sleep 1000 & sleep 1000"));
    let driver = Arc::new(Arc::into_inner(driver).unwrap().limit(Duration::from_millis(300)));
    let mut lab = prepared("pair", &driver);
    let start = Instant::now();
    let error = lab.up().unwrap_err().to_string();
    assert!(error.ends_with("and its process group was killed"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
    let left = lab.command("/bin/sh").unwrap().args(["-c", "grep -l sleep /proc/[0-9]*/comm"]);
    let left = left.output(Deadline::after(Duration::from_secs(10))).unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

/// A daemon that holds the pipe is not waited for, goes on running after the call, and ends with the lab.
#[rstest]
fn a_daemon_is_left_alone() {
    let (lab, result, _folder) = up(&format!("{DESCRIBE}{PAIR}setsid sleep 1000 &\necho '{{}}'"));
    result.unwrap();
    // It may be on its way to become what it is called.
    let found = "until grep -l sleep /proc/[0-9]*/comm; do :; done 2>/dev/null";
    let running = lab.command("/bin/sh").unwrap().args(["-c", found]);
    let running = running.output(Deadline::after(Duration::from_secs(10))).unwrap();
    assert_ne!(String::from_utf8_lossy(&running.stdout), "");
}

/// Closing or ignoring standard input is no fault, however long the request is.
#[rstest]
fn not_reading_the_request_is_no_fault(#[values("exec <&-", ":")] script: &str) {
    let (_folder, driver) = driver(&format!("#!/bin/sh\n{script}\nexit 89"));
    let mut lab = Lab::builder(Topology::star(1000).unwrap()).implementation(driver).prepare().unwrap();
    let error = lab.up().unwrap_err();
    assert!(matches!(&error, Error::Unsupported(_)), "{error}");
}

/// The environment, the folder and the namespaces that a driver finds are those of the protocol page, and nothing else.
#[rstest]
fn a_driver_finds_what_the_protocol_says() {
    let script = r#"
exec >&2
env | sed 's/PATH=.*/PATH/' | sort | tr '\n' ' '
[ "$PWD" = "$HOME" ] && ls -A "$HOME"
echo; ls -x /run/netns; ls /tmp; id -u; ls $(dirname "$0"); touch "$0" 2>/dev/null || echo read-only
exit 1"#;
    let (_lab, result, _folder) = up(&format!("{DESCRIBE}{script}"));
    let Error::Implementation { evidence, .. } = result.unwrap_err() else { panic!("not a failure of the driver's") };
    let lines: Vec<&str> = evidence.lines().collect();
    let scratch = netproof::world::SCRATCH;
    let environment = format!("HOME={scratch} LANG=C.UTF-8 PATH TMPDIR={scratch} XDG_RUNTIME_DIR={scratch} ");
    assert_eq!(lines[0].replace("PWD=/var/tmp/scratch ", ""), environment);
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["host", "netns1", "netns2"]);
    assert_eq!(lines[lines.len() - 3..], ["0", "driver", "read-only"]);
}

/// What a driver writes, and leaves running, changes nothing on the machine.
#[rstest]
fn what_a_driver_writes_stays_in_the_lab() {
    let name = format!("netproof-driver-test-{}", std::process::id());
    let script = format!("for d in /etc /var /run /tmp /dev/shm; do echo x >$d/{name} || exit 1; done\nsleep 1000 &\n");
    let (lab, result, _folder) = up(&format!("{DESCRIBE}{script}{PAIR}"));
    result.unwrap();
    let there = lab.command("/bin/cat").unwrap().arg(format!("/etc/{name}"));
    assert_eq!(there.output(Deadline::after(Duration::from_secs(10))).unwrap().stdout, b"x\n");
    for folder in ["/etc", "/var", "/run", "/tmp", "/dev/shm"] {
        assert!(!Path::new(folder).join(&name).exists(), "{folder}");
    }
}

/// A driver that lies in a folder which each lab has of its own is found all the same.
#[rstest]
fn a_driver_in_tmp_is_found() {
    let file = tempfile::Builder::new().prefix("driver").tempfile_in("/tmp").unwrap().into_temp_path();
    fs::remove_file(&file).unwrap();
    write_program(&file, &format!("{DESCRIBE}{PAIR}")).unwrap();
    let lab = prepared("pair", &Arc::new(Driver::new(&file).unwrap()));
    let said = Driver::new(&file).unwrap().describe(lab.site()).unwrap();
    assert_eq!((said.name.as_str(), said.version.as_str()), ("mine", "2"));
}

/// What cannot be a driver is told at once, or when it is first called.
#[rstest]
fn what_is_no_driver_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine");
    let error = |path: &Path| Driver::new(path).unwrap_err().to_string().replace(path.to_str().unwrap(), "PATH");
    assert_eq!(error(&path), "driver PATH: No such file or directory (os error 2)");
    assert_eq!(error(folder.path()), "driver PATH: not a file");
    fs::write(&path, "").unwrap();
    assert_eq!(error(&path), "driver PATH: not executable: chmod +x PATH");
    let (_folder, none) = driver("#!/no/such/shell\n");
    let lab = prepared("pair", &none);
    let called = || none.describe(lab.site()).unwrap_err().to_string();
    assert_eq!(called(), "driver: describe: cannot be executed: the interpreter in its first line is not there");
    fs::remove_file(none.path()).unwrap();
    assert_eq!(called(), format!("driver: describe: is not at {} any more", none.path().display()));
}

/// An invented verb and an invented topology must get 89.
#[rstest]
#[case::right(r#"case $1 in up | down) grep -q '"topology":"pair"' || exit 89 ;; *) exit 89 ;; esac"#, None)]
#[case::any_verb(
    "exit 0",
    Some(
        "mine: no-such-verb: exited with status 0 for verb `no-such-verb`, which does not exist; 89 is the right status"
    )
)]
#[case::any_topology(
    "case $1 in up | down) ;; *) exit 89 ;; esac",
    Some(
        "mine: up: exited with status 0 for topology `no-such-topology`, which does not exist; 89 is the right status"
    )
)]
#[case::another_status(
    "echo what >&2; exit 1",
    Some(
        "mine: no-such-verb: exited with status 1 for verb `no-such-verb`, which does not exist; 89 is the right status\n  | what"
    )
)]
fn what_does_not_exist_is_not_supported(#[case] script: &str, #[case] expected: Option<&str>) {
    let (_folder, driver) = driver(&format!("{DESCRIBE}{script}"));
    let lab = prepared("pair", &driver);
    driver.describe(lab.site()).unwrap();
    let told = driver.probe_unknown(lab.site()).err().map(|error| error.to_string());
    assert_eq!(told.as_deref(), expected);
}

/// A verb that the driver does not have is not supported, and is not called.
#[rstest]
fn an_optional_verb_may_be_missing() {
    let (mut lab, result, _folder) = up(&format!("{DESCRIBE}{PAIR}"));
    result.unwrap();
    assert_eq!(lab.reload().unwrap_err().to_string(), "not supported: mine has no verb `reload`");
}

/// The article's commands build what they claim, refuse to build it twice, and take back all of it, twice.
#[rstest]
fn the_article_builds_what_it_claims(
    #[values(
        "veth",
        "pair",
        "port-address",
        "host-route",
        "gateway",
        "gateway-two-subnets",
        "gateway-one-subnet",
        "resolver",
        "mtu",
        "two-networks",
        "direct",
        "mesh"
    )]
    topology: &str,
) {
    builds_and_takes_down(&shipped("article"), topology);
}

/// So does the second, independent implementation, for every topology that this kernel can have.
#[rstest]
fn the_iproute2_driver_builds_everything(
    #[values(
        "veth",
        "port-address",
        "gateway",
        "gateway-two-subnets",
        "gateway-v6",
        "publish",
        "publish-v6",
        "publish-loopback",
        "resolver",
        "internal-v6",
        "isolated-ports-v6",
        "isolated-v6",
        "isolated-publish",
        "two-networks",
        "mtu",
        "hairpin-v6",
        "anti-spoof",
        "mesh",
        "star"
    )]
    topology: &str,
) {
    builds_and_takes_down(&shipped("iproute2"), topology);
}

fn builds_and_takes_down(driver: &Arc<Driver>, topology: &str) {
    let mut lab = prepared(topology, driver);
    assert!(driver.describe(lab.site()).unwrap().claims(topology));
    let before = inventories(&lab);
    lab.up().unwrap();
    let stands = inventories(&lab);
    let again = lab.up().unwrap_err();
    assert!(!matches!(again, Error::Unsupported(_)), "{again}");
    assert_eq!(changes(&stands, &inventories(&lab)), "");
    lab.down().unwrap();
    lab.down().unwrap();
    assert_eq!(changes(&before, &inventories(&lab)), "");
    lab.up().unwrap();
    for node in lab.nodes() {
        assert!(answers(node, node), "{} reaches itself", node.name());
    }
}

/// What the namespaces hold of links, addresses, routes, rules and sysctls, by the namespace's name.
fn inventories(lab: &Lab) -> Vec<(String, Inventory)> {
    let site = lab.site();
    let all = [&site.host].into_iter().chain(&site.nodes);
    all.map(|namespace| (namespace.name().to_owned(), Inventory::of(namespace).unwrap())).collect()
}

fn changes(before: &[(String, Inventory)], after: &[(String, Inventory)]) -> String {
    let pairs = before.iter().zip(after);
    let changed = pairs.flat_map(|((name, before), (_, after))| {
        before.changes(after).into_iter().map(move |change| format!("{name}: {change}\n"))
    });
    // The lab itself quickens neighbours; and the kernel gives a lo its address when it first comes up, for good.
    let of_lab = [".retrans_time", ".proxy_delay", "scope host dev lo"];
    let of_driver = |change: &String| !of_lab.iter().any(|part| change.contains(part));
    changed.filter(of_driver).collect()
}
