//! Drivers with a fault: who notices, who does not, and what is told.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use netproof::world::write_program;
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

const ARTICLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/drivers/article/driver"));

/// A program in a folder of its own.
fn program(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("driver");
    write_program(&path, text).unwrap();
    (folder, path)
}

/// The article's driver, with a text of it replaced.
fn article(text: &str, replacement: &str) -> (TempDir, PathBuf) {
    assert!(ARTICLE.contains(text), "the article's driver has no `{text}`");
    program(&ARTICLE.replace(text, replacement))
}

/// Runs the command with these arguments and `--format json`: its exit status, the report, and its standard error.
fn run(arguments: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netproof"));
    let output = command.arg("run").args(arguments).args(["--format", "json"]).stdin(Stdio::null()).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), report, String::from_utf8(output.stderr).unwrap())
}

/// The cases of the first implementation that have this verdict: `id on topology`, with the reason.
fn of_verdict(report: &Value, verdict: &str) -> Vec<(String, String)> {
    let cases = report["implementations"][0]["cases"].as_array().unwrap();
    let named = cases.iter().filter(|case| case["verdict"] == verdict).map(|case| {
        let name = format!("{} on {}", case["id"].as_str().unwrap(), case["topology"].as_str().unwrap());
        (name, format!("{}\n{}", case["reason"].as_str().unwrap_or(""), case["evidence"].as_str().unwrap_or("")))
    });
    named.collect()
}

/// One line of an implementation is missing or wrong: these cases fail, those still pass, and the cause is named.
///
///     outside --- eth0 [host: br0] --- [netns1] [netns2]
#[rstest]
#[case::bridge_left_down(
    "ip link set \"$1\" up # added",
    "",
    &["pair/peers-reach-each-other on pair", "links/all-are-up-when-up-returns on pair"],
    &["links/every-port-is-on-its-bridge on pair", "links/lo-is-up-in-every-node on pair"],
    "br0"
)]
#[case::lo_left_down(
    "ip netns exec \"$1\" ip link set dev lo up",
    "",
    &["links/lo-is-up-in-every-node on pair", "links/lo-is-up-in-every-node on gateway-one-subnet"],
    &["pair/peers-reach-each-other on pair", "gateway/a-node-reaches-the-outside on gateway-one-subnet"],
    "lo"
)]
#[case::forwarding_left_off(
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "",
    &["gateway/a-node-reaches-the-outside on gateway-one-subnet"],
    &["pair/peers-reach-each-other on gateway-one-subnet", "links/all-are-up-when-up-returns on gateway-one-subnet"],
    "forward"
)]
#[case::no_masquerade(
    "oifname eth0 masquerade",
    "oifname eth7 masquerade",
    &["gateway/a-node-reaches-the-outside on gateway-one-subnet"],
    &["pair/peers-reach-each-other on gateway-one-subnet", "neighbour/no-address-on-a-port on gateway-one-subnet"],
    "10.20.0.0/16"
)]
#[case::addresses_left_on_ports(
    "ip addr del 10.20.30.40/24 dev veth1-0",
    "ip addr del 10.20.30.40/24 dev veth1-0; ip addr add 10.20.30.40/32 dev veth1-0",
    &["neighbour/no-address-on-a-port on host-route"],
    &["pair/peers-reach-each-other on host-route"],
    "10.20.30.40"
)]
fn a_fault_is_noticed(
    #[case] text: &str,
    #[case] replacement: &str,
    #[case] fail: &[&str],
    #[case] pass: &[&str],
    #[case] cause: &str,
) {
    let (_folder, driver) = article(text, replacement);
    let cases = fail.iter().chain(pass).map(|name| name.replace(" on ", "@")).collect::<Vec<_>>();
    let cases = cases.iter().map(String::as_str);
    let arguments: Vec<&str> = ["--driver", driver.to_str().unwrap()].into_iter().chain(cases).collect();
    let (status, report, stderr) = run(&arguments);
    assert_eq!(status, 1, "{stderr}");
    let failed = of_verdict(&report, "fail");
    let passed = of_verdict(&report, "pass");
    for name in fail {
        let (_, told) = failed.iter().find(|(failed, _)| failed == name).unwrap_or_else(|| panic!("{name} passed"));
        assert!(told.contains(cause), "{name} does not say `{cause}`:\n{told}");
    }
    for name in pass {
        assert!(passed.iter().any(|(passed, _)| passed == name), "{name} did not pass: {failed:#?}");
    }
    assert!(of_verdict(&report, "error").is_empty(), "{:#?}", of_verdict(&report, "error"));
}

/// Where `up` fails, each case of the topology does, with what the driver wrote as evidence; the others are tried.
#[test]
fn an_up_that_fails_is_evidence() {
    let (_folder, driver) = article("    pair) bridged_pair ;;", "    pair) echo no such cable >&2; exit 3 ;;");
    let (status, report, _) = run(&[
        "--driver",
        driver.to_str().unwrap(),
        "pair/peers-reach-each-other",
        "links/every-port",
        "pair/own-address",
    ]);
    assert_eq!(status, 1);
    let failed = of_verdict(&report, "fail");
    assert!(failed.iter().all(|(name, _)| name.ends_with(" on pair")), "{failed:#?}");
    assert!(failed.len() >= 3, "{failed:#?}");
    assert!(failed.iter().all(|(_, told)| told.contains("article: up: ") && told.contains("| no such cable")));
    assert!(of_verdict(&report, "pass").iter().any(|(name, _)| name.ends_with(" on gateway-one-subnet")));
}

/// Who answers what does not exist with anything but 89 is told.
#[test]
fn a_driver_that_never_declines_is_told() {
    let (_folder, driver) = article("    *) exit 89 ;;\n    esac\n}", "    *) exit 0 ;;\n    esac\n}");
    let (status, report, _) = run(&["--driver", driver.to_str().unwrap(), "protocol"]);
    assert_eq!(status, 1);
    let failed = of_verdict(&report, "fail");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0].0, "protocol/an-unknown-topology-is-declined on pair");
    assert!(
        failed[0].1.contains("exits 0 for a topology that there is not; the right answer is 89"),
        "{}",
        failed[0].1
    );
}

/// An answer to `describe` that is not of the protocol's form is one clear error, and exit status 2.
#[rstest]
#[case::garbage("echo hello", "describe: did not print one JSON object")]
#[case::nothing("exit 0", "describe: printed nothing")]
#[case::status("echo oh >&2; exit 4", "describe: exited with status 4\n  | oh")]
#[case::name(r#"echo '{"protocol":1,"name":"No Name","verbs":["up","down"]}'"#, "is called `No Name`")]
fn a_driver_that_does_not_say_what_it_is(#[case] script: &str, #[case] message: &str) {
    let (_folder, driver) = program(&format!("#!/bin/sh\n{script}\n"));
    let (status, _, stderr) = run(&["--driver", driver.to_str().unwrap()]);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
}

/// A file that is no program is an error that says what to do.
#[test]
fn a_driver_must_be_executable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("driver");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    let (status, _, stderr) = run(&["--driver", path.to_str().unwrap()]);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("not executable: chmod +x"), "{stderr}");
}

/// Who is asked for by name is to be there: this environment cannot run it, and how to get it is said.
#[test]
fn what_is_missing_is_named() {
    let text = r#"echo '{"protocol":1,"name":"mine","verbs":[],"topologies":[],"missing":"apt-get install mine"}'"#;
    let (_folder, driver) = program(&format!("#!/bin/sh\n{text}\n"));
    let (status, _, stderr) = run(&["--driver", driver.to_str().unwrap(), "pair/own-address"]);
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("mine is not installed: apt-get install mine"), "{stderr}");
}

/// The same driver by two names is graded once; two drivers are graded one after the other.
#[test]
fn a_driver_is_graded_once() {
    let (folder, driver) = program(ARTICLE);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&driver, &link).unwrap();
    let [driver, link] = [&driver, &link].map(|path| path.to_str().unwrap());
    let graded = |arguments: &[&str]| {
        let (status, report, stderr) = run(arguments);
        assert_eq!(status, 0, "{stderr}");
        let names = report["implementations"].as_array().unwrap().iter();
        names.map(|graded| graded["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(graded(&["--driver", driver, "--driver", link, "pair/own-address"]), ["article"]);
    let several = ["--implementation", "native", "--implementation", "article", "--implementation", "native"];
    assert_eq!(graded(&[&several[..], &["pair/own-address"]].concat()), ["native", "article"]);
}

/// The article's driver is in the binary, which works wherever it was copied to.
#[test]
fn a_copied_binary_needs_nothing_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("np");
    std::fs::copy(env!("CARGO_BIN_EXE_netproof"), &copy).unwrap();
    let arguments = ["run", "--implementation", "article", "pair/own-address", "--format", "json"];
    let output = Command::new(&copy).args(arguments).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!of_verdict(&report, "pass").is_empty(), "{report}");
    assert_eq!(report["implementations"][0]["driver"], Value::Null);
}
