//! The command, as its users call it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

fn netproof(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netproof"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NETPROOF_TIME_SCALE");
    command
}

/// What a call prints, and its exit status.
fn call(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = netproof(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// Wrong usage is one clear error, and exit status 2.
#[rstest]
#[case::case_name(&["run", "pair/peers-reach-each-othr"], "did you mean `pair/peers-reach-each-other`?")]
#[case::suite_name(&["run", "gatway"], "no suite or case is called `gatway`; did you mean `gateway`?")]
#[case::half_a_word(&["run", "pai"], "did you mean `pair`?")]
#[case::topology_of_a_case(&["run", "pair/a-bridge-left-down@star"], "is not tried on `star`, but on ")]
#[case::suite_that_is_a_topology(&["run", "publish"], "`publish` is a topology, and no suite: `@publish` means all")]
#[case::topology_alone(&["run", "@publsh"], "no topology is called `publsh`; did you mean `@publish`?")]
#[case::explain(&["explain", "pair/peers-reach-each-othr"], "did you mean `pair/peers-reach-each-other`?")]
#[case::list(&["list", "pir"], "did you mean `pair`?")]
#[case::nothing_near(&["run", "/"], "no suite or case is called `/`; `netproof list` shows all")]
#[case::case_of_a_suite(&["run", "pair/nope"], "no case is called `pair/nope`; `netproof list pair` shows those of the suite")]
#[case::no_report(&["matrix", "/etc/passwd"], "reading /etc/passwd: this is no report of netproof's: ")]
#[case::copy(&["implementations", "--copy", "netavrk", "/no/such"], "did you mean `netavark`?")]
#[case::implementation(&["run", "--implementation", "natve"], "no implementation is called `natve`; did you mean `native`?")]
#[case::mutant(&["mutants", "bridge-dwn"], "no mutant is called `bridge-dwn`; did you mean `bridge-down`?")]
#[case::driver(&["run", "--driver", "/no/such/driver"], "/no/such/driver")]
#[case::topology(&["run", "--topology", "/no/such/file.toml"], "/no/such/file.toml")]
#[case::deviations(&["run", "--deviations", "/no/such/known.toml"], "reading deviations /no/such/known.toml")]
#[case::jobs(&["run", "--jobs", "0"], "--jobs")]
#[case::timeout(&["run", "--timeout", "0"], "--timeout")]
#[case::time_scale(&["run", "--time-scale", "nan"], "`nan` is no factor from 0.1 to 1000")]
#[case::format(&["run", "--format", "xml"], "[possible values: text, json, tap]")]
#[case::subcommand(&["rum"], "a similar subcommand exists: 'run'")]
#[case::nothing(&[], "Usage: netproof")]
#[case::compare(&["compare", "/no/old.json", "/no/new.json"], "reading /no/old.json: No such file")]
#[case::profile(&["run", "--profile", "core", "veth"], "none of the cases is in the profile `core`")]
fn wrong_usage(#[case] arguments: &[&str], #[case] message: &str) {
    let (status, stdout, stderr) = call(arguments);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
    assert_eq!(stdout, "");
}

/// Who claims nothing that is known is not graded for it; what is not seen of `PATH` is said; and a run that tries nothing
/// does not look like one that finds nothing.
#[test]
fn nothing_is_not_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let mine = |topologies: &str| {
        let described =
            format!(r#"{{"protocol":1,"name":"mine","version":"1","verbs":["up","down"],"topologies":{topologies}}}"#);
        let path = file(&folder, "mine", &format!("#!/bin/sh\n[ $1 = describe ] || exit 89\necho '{described}'\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let grade = |topologies: &str| call(&["run", "--driver", &mine(topologies), "pair/peers@star"]);
    let (status, _, stderr) = grade(r#"["pear"]"#);
    assert_eq!(status, 2, "{stderr}");
    for part in ["mine: describe: no topology is called `pear`; did you mean `pair`?", "nothing could be tried"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_eq!(grade("[]").0, 2);
    let (status, stdout, stderr) = grade(r#"["pair"]"#);
    assert_eq!(status, 3, "{stdout}{stderr}");
    assert!(stdout.contains("unsupported mine does not build star\n"), "{stdout}");
    assert!(stderr.contains("nothing could be tried: all is unsupported"), "{stderr}");
    let hidden = format!("{}:/usr/bin", folder.path().display());
    let run = ["run", "--implementation", "iproute2", "pair/peers@pair"];
    let Output { stderr, .. } = netproof(&run).env("PATH", hidden).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains(" is on PATH, and drivers do not see it"), "{stderr}");
}

/// A topology that cannot be is an error that points at the line, and exit status 2.
#[test]
fn a_malformed_topology_points_at_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("topologies/pair.toml")).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("10.20.30.41/24")).unwrap();
    let path = file(&folder, "mine.toml", &text.replace("10.20.30.41/24", "10.20.30.41/240"));
    let (status, _, stderr) = call(&["run", "--topology", &path]);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains(&format!("mine.toml:{line}: ")), "{stderr}");
}

/// A user's own topology is tried with the cases of the shipped ones of its shape.
#[test]
fn a_topology_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("topologies/pair.toml")).unwrap();
    let text = text.replace("10.20.30.", "10.77.1.").replace("10.20.20.", "10.77.2.").replace("\"pair\"", "\"mine\"");
    let path = file(&folder, "mine.toml", &text);
    let (status, stdout, stderr) = call(&["run", "--topology", &path, "--format", "json", "pair/peers", "routes"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let cases = report["implementations"][0]["cases"].as_array().unwrap();
    assert!(cases.iter().all(|case| case["topology"] == "mine"), "{stdout}");
    assert!(cases.iter().any(|case| case["id"] == "pair/peers-reach-each-other"), "{stdout}");
    assert!(!cases.iter().any(|case| case["id"].as_str().unwrap().contains("gateway")), "{stdout}");
}

/// Who is added to one of a user's own has an address of its prefix; the nodes are called as the cases call them.
#[test]
fn a_small_prefix_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = fs::read_to_string(fixture("topologies/gateway-one-subnet.toml")).unwrap();
    let prefix =
        [("10.20.30.41", "172.30.0.2"), ("10.20.20.41", "172.30.0.9"), ("10.20.0.", "172.30.0."), ("/16", "/24")];
    for (old, new) in prefix {
        text = text.replace(old, new);
    }
    let path = file(&folder, "mine.toml", &text.replace("\"gateway-one-subnet\"", "\"mine\""));
    let (status, stdout, stderr) = call(&["run", "--topology", &path, "lifecycle/a-reused-address-is-reached-at-once"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.contains("1 pass"), "{stdout}");

    let path = file(&folder, "named.toml", &text.replace("netns2", "db"));
    let (status, _, stderr) = call(&["run", "--topology", &path]);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("are to be called netns1, netns2"), "{stderr}");
}

/// What is printed as JSON is what `report.json` has; `junit.xml` is beside it.
#[test]
fn a_run_leaves_its_reports() {
    let folder = tempfile::tempdir().unwrap();
    let reports = folder.path().join("reports");
    let (status, stdout, stderr) =
        call(&["run", "pair/peers", "--format", "json", "--report", reports.to_str().unwrap(), "--jobs", "2"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let report = json(&reports.join("report.json"));
    assert_eq!(report, serde_json::from_str::<Value>(&stdout).unwrap());
    assert_eq!((&report["schema"], &report["implementations"][0]["name"]), (&Value::from(1), &Value::from("native")));
    assert!(fs::read_to_string(reports.join("junit.xml")).unwrap().contains("<testsuite name=\"native\""));
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 2);
}

/// Nothing built in needs a program, a home, or anything else of the environment.
#[test]
fn an_empty_environment_is_enough() {
    let output = netproof(&["run", "pair/peers"]).env_clear().env("PATH", "").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The text ends with a table and one line of counts; without a terminal there are no colours and no bar.
#[test]
fn text_without_a_terminal_is_plain() {
    let (status, stdout, stderr) = call(&["run", "pair/peers-reach-each-other"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains(" native 0.1.0  pass  fail  known  unsupported  error"), "{stdout}");
    assert!(stdout.lines().last().unwrap().contains(" pass (suite 0.1.0, Linux "), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
}

/// TAP, for those who read it.
#[test]
fn tap() {
    let (status, stdout, _) = call(&["run", "pair/peers-reach-each-other", "--format", "tap"]);
    assert_eq!(status, 0, "{stdout}");
    assert!(stdout.starts_with("TAP version 14\n1.."), "{stdout}");
    assert!(stdout.contains("\nok 1 - native: pair/peers-reach-each-other on pair\n"), "{stdout}");
}

/// Every id that `list` shows, `run` takes; the JSON has all that a case says of itself.
#[test]
fn list() {
    let (status, stdout, _) = call(&["list", "--json"]);
    assert_eq!(status, 0);
    let cases: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let of_peers = cases.iter().find(|case| case["id"] == "pair/peers-reach-each-other").unwrap();
    assert_eq!(of_peers["level"], "MUST");
    for key in ["claim", "source", "failing"] {
        assert!(of_peers[key].as_str().is_some_and(|text| !text.is_empty()), "{of_peers}");
    }
    assert!(of_peers["topologies"].as_array().unwrap().contains(&"pair".into()));
    let (_, text, _) = call(&["list"]);
    for case in &cases {
        assert!(text.contains(case["id"].as_str().unwrap()));
    }
    let (_, some, _) = call(&["list", "pair"]);
    assert!(some.contains("pair/") && !some.contains("gateway/"), "{some}");
}

/// `explain` has the claim, a picture, the source, and what failing means.
#[test]
fn explain() {
    let (status, stdout, _) = call(&["explain", "pair/peers-reach-each-other"]);
    assert_eq!(status, 0);
    for part in ["(MUST)", "netns1", "br0", "Failing means: ", "Source: ", "Topologies: pair, ", "netproof run pair/"] {
        assert!(stdout.contains(part), "no `{part}` in\n{stdout}");
    }
}

/// `explain` draws a topology too, and a case on one that is not its first.
#[test]
fn explain_a_topology() {
    let (status, stdout, _) = call(&["explain", "gateway-v6"]);
    assert_eq!(status, 0);
    for part in ["gateway-v6: ", "fd00:", "br0", "cases are tried on it: netproof list @gateway-v6"] {
        assert!(stdout.contains(part), "no `{part}` in\n{stdout}");
    }
    let (status, stdout, _) = call(&["explain", "pair/peers-reach-each-other@star"]);
    assert_eq!((status, stdout.contains("\nstar:\n")), (0, true), "{stdout}");
}

/// `doctor` tells of each thing that labs need whether it is there, and what to do where it is not.
#[test]
fn doctor() {
    let (status, stdout, stderr) = call(&["doctor"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.contains("ok      privilege: "), "{stdout}");
    assert!(stdout.contains("ok      network namespaces: "), "{stdout}");
    let lines: Vec<&str> = stdout.lines().collect();
    for (place, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("absent")) {
        assert!(lines[place + 1].contains("try: "), "{stdout}");
    }
}

/// Completions for each shell, and the version.
#[rstest]
#[case::bash(&["completions", "bash"], "_netproof()")]
#[case::zsh(&["completions", "zsh"], "#compdef netproof")]
#[case::fish(&["completions", "fish"], "complete -c netproof")]
#[case::version(&["--version"], "netproof 0.1.0")]
fn what_clap_does(#[case] arguments: &[&str], #[case] part: &str) {
    let (status, stdout, _) = call(arguments);
    assert_eq!(status, 0);
    assert!(stdout.contains(part), "{stdout}");
}

/// Who reads only the start of the output ends nothing badly.
#[test]
fn a_closed_pipe_is_no_fault() {
    let mut child = netproof(&["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A known failure that does not fail is an error: the list is to shrink.
#[test]
fn a_stale_deviation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let known = "[[known]]\ncase = \"pair/peers-reach-each-other\"\ntopology = \"pair\"\nreason = \"not yet\"\n";
    let path = file(&folder, "known.toml", known);
    let (status, stdout, stderr) = call(&["run", "pair/peers-reach-each-other", "--deviations", &path]);
    assert_eq!(status, 1, "{stdout}");
    assert!(stderr.contains("native: pair/peers-reach-each-other on pair is listed as a known failure"), "{stderr}");
    // In a run that does not try the case, the line says nothing.
    assert_eq!(call(&["run", "pair/a-bridge-left-down", "--deviations", &path]).0, 0);
}

/// Without its line in the list, a known failure fails the run, whatever its level: lists are whole.
#[rstest]
#[case::must("links/the-bridges-mac-does-not-follow-its-ports")]
#[case::should("filter/the-way-out-passes-a-forward-policy-of-drop")]
fn a_missing_deviation_is_an_error(#[case] id: &str) {
    let folder = tempfile::tempdir().unwrap();
    let listed = include_str!("../fixtures/deviations/article.toml");
    let without: String = listed.split_inclusive("[[known]]\n").filter(|part| !part.contains(id)).collect();
    let without = without.trim_end_matches("[[known]]\n");
    assert_eq!(listed.matches("reason").count(), without.matches("reason").count() + 1);
    let path = file(&folder, "known.toml", without);
    let run = ["run", "--implementation", "article", id];
    assert_eq!(call(&run).0, 0);
    let (status, stdout, _) = call(&[&run[..], &["--deviations", &path]].concat());
    assert_eq!(status, 1, "{stdout}");
}

/// A report's failures become a list with which the same run passes.
#[test]
fn a_list_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let (none, out) = (file(&folder, "none.toml", ""), folder.path().display().to_string());
    let run = ["run", "--implementation", "article", "links/the-bridges-mac-does-not-follow-its-ports", "--deviations"];
    assert_eq!(call(&[&run[..], &[&none, "--report", &out]].concat()).0, 1);
    let (status, list, _) = call(&["deviations", &format!("{out}/report.json")]);
    assert_eq!(status, 0, "{list}");
    let listed = file(&folder, "known.toml", &list);
    let (status, stdout, _) = call(&[&run[..], &[&listed]].concat());
    assert_eq!(status, 0, "{stdout}{list}");
    assert!(stdout.contains(" 1 known"), "{stdout}");
}

/// `compare` tells what got worse, and ends with 1; the other way round it got better, and ends with 0.
#[test]
fn compare() {
    let folder = tempfile::tempdir().unwrap();
    let reports = folder.path().to_str().unwrap();
    assert_eq!(call(&["run", "pair/peers-reach-each-other", "--report", reports]).0, 0);
    let old = folder.path().join("report.json");
    let mut worse = json(&old);
    worse["implementations"][0]["cases"][0]["verdict"] = "fail".into();
    worse["implementations"][0]["cases"][0]["reason"] = "no reply".into();
    let (old, new) = (old.to_str().unwrap(), &file(&folder, "new.json", &worse.to_string()));
    let (status, stdout, _) = call(&["compare", old, new]);
    assert_eq!(status, 1, "{stdout}");
    let line = "worse    native: pair/peers-reach-each-other on pair: was pass, is fail: no reply\n";
    assert_eq!(stdout, format!("{line}1 changed, 1 for the worse\n"));
    let (status, stdout, _) = call(&["compare", new, old]);
    assert_eq!(status, 0, "{stdout}");
    assert!(stdout.starts_with("better "), "{stdout}");
    assert_eq!(call(&["compare", old, old]), (0, "0 changed, 0 for the worse\n".into(), String::new()));
}

/// Interrupted, a run ends soon, with a report of what was done that says so.
#[test]
fn an_interrupted_run_reports_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let reports = folder.path().to_str().unwrap();
    let arguments = ["run", "pair", "links", "neighbour", "--jobs", "1", "--report", reports];
    let child = netproof(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_caught(child.id(), nix::sys::signal::SIGINT as u32);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopping; once more to end at once"), "{output:?}");
    assert_eq!(json(&folder.path().join("report.json"))["interrupted"], true);
}

/// Interrupted twice, it ends at once, whatever a driver is doing.
#[test]
fn interrupted_twice_it_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let description = r#"{"protocol":1,"name":"idle","verbs":["up","down"],"topologies":["*"]}"#;
    let driver = folder.path().join("driver");
    let script = format!("#!/bin/sh\n[ $1 != describe ] || exec echo '{description}'\nexec sleep 1000\n");
    netproof::world::write_program(&driver, &script).unwrap();
    let arguments = ["run", "pair", "--driver", driver.to_str().unwrap()];
    let mut child = netproof(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_caught(child.id(), nix::sys::signal::SIGINT as u32);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    let interrupt = || nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    interrupt();
    let mut told = [0; "stopping".len()];
    std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert_eq!(&told, b"stopping");
    let start = Instant::now();
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}: it waited for the cases under way", start.elapsed());
}

/// Waits until the process catches the signal.
fn wait_until_caught(pid: u32, signal: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0 {
            return;
        }
        assert!(Instant::now() < deadline, "signal {signal} is not caught");
        thread::yield_now();
    }
}
