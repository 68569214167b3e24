//! `netproof shell`: a command or a shell in a lab, on a terminal and without one.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use rstest::rstest;
use tempfile::TempDir;

const PEERS: &str = "pair/peers-reach-each-other@pair";

/// What a call prints, and its exit status.
fn shell(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netproof"));
    let Output { status, stdout, stderr } = command.arg("shell").args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A driver of `pair` that fails at, or forgets, what the lines in its `up` say.
fn driver(folder: &TempDir, up: &str) -> String {
    let description = r#"{"protocol":1,"name":"mine","version":"1","verbs":["up","down"],"topologies":["pair"]}"#;
    let script = format!(
        "#!/bin/sh\nset -e\ncase $1 in\ndescribe) echo '{description}' ;;\nup) {up} ;;\ndown) ;;\n*) exit 89 ;;\nesac\n"
    );
    let path = folder.path().join("driver");
    netproof::world::write_program(&path, &script).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Both nodes attached to a bridge that is left down.
const BRIDGE_DOWN: &str = "ip link add br0 type bridge
    for node in 1:10.20.30.41 2:10.20.20.41; do
        i=${node%%:*}
        ip link add veth$i-0 type veth peer name veth$i-1 netns netns$i
        ip link set veth$i-0 master br0 up
        ip -n netns$i link set lo up
        ip -n netns$i link set veth$i-1 up
        ip -n netns$i addr add ${node#*:}/24 dev veth$i-1
        ip -n netns$i route add default dev veth$i-1
    done";

/// A command runs in the lab that was asked for, in the namespace that was asked for, and its exit status is handed on.
#[rstest]
#[case::topology(&["pair", "--", "cat", "/proc/net/dev"], &["br0:", "veth1-0:"])]
#[case::as_run_writes_it(&["@pair", "--", "cat", "/proc/net/dev"], &["br0:", "veth1-0:"])]
#[case::node(&["pair", "--in", "netns1", "--", "cat", "/proc/net/dev"], &["lo:", "veth1-1:"])]
#[case::outside(&["gateway", "--in", "outside", "--", "cat", "/proc/net/fib_trie"], &["192.0.2.1"])]
#[case::names(&["gateway", "--", "ls", "/run/netns"], &["host", "netns1", "netns2", "outside"])]
#[case::implementation(&["pair", "--implementation", "article", "--", "cat", "/proc/net/dev"], &["br0:"])]
#[case::prompt(&["pair", "--", "printenv", "PS1"], &["pair:host# "])]
fn a_command_in_a_lab(#[case] arguments: &[&str], #[case] parts: &[&str]) {
    let (status, stdout, stderr) = shell(arguments);
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    for part in parts {
        assert!(stdout.contains(part), "no `{part}` in\n{stdout}");
    }
    assert!(!arguments.contains(&"netns1") || !stdout.contains("br0"), "{stdout}");
}

/// The exit status is the command's, or 128 and the signal's number.
#[rstest]
#[case("exit 7", 7)]
#[case("kill -9 $$", 137)]
fn the_commands_status_is_handed_on(#[case] script: &str, #[case] status: i32) {
    assert_eq!(shell(&["pair", "--", "sh", "-c", script]), (status, String::new(), String::new()));
}

/// What cannot be is said before anything runs.
#[rstest]
#[case::topology(&["gatway", "--", "true"], 2, "no topology is called `gatway`; did you mean `gateway`?")]
#[case::case_name(&["pair/peers-reach-each-othr", "--", "true"], 2, "did you mean `pair/peers-reach-each-other`?")]
#[case::several(&["pair/peers-reach-each-other", "--", "true"], 2, "\n  pair/peers-reach-each-other@pair\n")]
#[case::namespace(&["pair", "--in", "nowhere", "--", "true"], 2, "it has host, netns1, netns2")]
#[case::program(&["pair", "--", "no-such-program"], 2, "starting no-such-program")]
#[case::nothing(&[], 2, "Usage: netproof shell")]
#[case::passes(&[PEERS, "--", "false"], 0, "nothing failed, so there is no shell: `netproof shell pair` opens one")]
fn what_cannot_be(#[case] arguments: &[&str], #[case] status: i32, #[case] message: &str) {
    let (ended, stdout, stderr) = shell(arguments);
    assert_eq!(ended, status, "{stdout}{stderr}");
    assert!(stderr.contains(message), "{stderr}");
}

/// A topology of one's own.
#[test]
fn a_topology_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/topologies/pair.toml");
    let path = folder.path().join("mine.toml");
    fs::write(&path, fs::read_to_string(pair).unwrap().replace("br0", "br7").replace("\"pair\"", "\"mine\"")).unwrap();
    let (status, stdout, stderr) = shell(&["--topology", path.to_str().unwrap(), "--", "cat", "/proc/net/dev"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("br7:"), "{stdout}");
}

/// Where a case fails, the command finds the lab as it was then; why it failed was said before.
#[test]
fn where_a_case_failed() {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver(&folder, BRIDGE_DOWN);
    let look = ["--driver", &driver, PEERS, "--", "cat", "/sys/class/net/br0/operstate"];
    let (status, stdout, stderr) = shell(&look);
    assert_eq!((status, stdout.as_str()), (0, "down\n"), "{stderr}");
    assert!(stderr.contains("FAIL pair/peers-reach-each-other on pair (MUST, mine)"), "{stderr}");
    assert!(stderr.contains("br0 in host is down"), "{stderr}");
}

/// Where an implementation fails to build, the command finds what it left.
#[rstest]
#[case::topology("pair")]
#[case::case_(PEERS)]
fn where_up_failed(#[case] name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver(&folder, "ip link add br3 type bridge; echo 'that was all' >&2; exit 1");
    let (status, stdout, stderr) = shell(&["--driver", &driver, name, "--", "ls", "/sys/class/net"]);
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("br3"), "{stdout}");
    assert!(stderr.contains("that was all"), "{stderr}");
}

/// On a terminal it is a shell with jobs: keys are for what runs in it, and the lab stands until it ends.
#[test]
fn a_shell_on_a_terminal() {
    // `script` is the terminal.
    let line = format!("{} shell pair", env!("CARGO_BIN_EXE_netproof"));
    let mut script = Command::new("timeout");
    script.args(["120", "script", "--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "dumb");
    let mut terminal = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut seen = String::new();
    let mut until = |part: &str| {
        seen.clear();
        let mut byte = [0];
        while !seen.ends_with(part) {
            screen.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: no `{part}` in\n{seen}"));
            seen.push(byte[0].into());
        }
        seen.clone()
    };
    let start = until("pair:host# ");
    assert!(start.contains("[host: br0]") && start.contains("`exit` ends the lab"), "{start}");
    assert!(!start.contains("job control"), "{start}");
    keys.write_all(b"sh -c 'kill -STOP $$; echo under way; exec sleep 1000'\n").unwrap();
    until("Stopped");
    until("pair:host# ");
    // The terminal is the job's before the job goes on. The echo of the line has the words, too, but in no line alone.
    keys.write_all(b"fg\n").unwrap();
    until("\nunder way\r\n");
    keys.write_all(b"\x03").unwrap();
    until("pair:host# ");
    keys.write_all(b"jobs; ls /sys/class/net; exit 5\n").unwrap();
    let last = until("veth1-0");
    assert!(!last.contains("sleep"), "{last}");
    assert_eq!(terminal.wait().unwrap().code(), Some(5));
}
