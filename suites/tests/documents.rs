//! The drivers that the documents show, straight from the pages.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use netproof_suites::{
    run::{Options, Stop, Verdict, all_items, grade},
    shipped,
};
use rstest::rstest;

netproof::enter!();

const PAGE: &str = include_str!("../../docs/writing-a-driver.md");
const README: &str = include_str!("../../README.md");
const TESTS: &str = include_str!("../../harness/tests/readme/main.rs");

/// A page's blocks of a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    page.split("\n```").filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What the driver fails of all that is tried on the topologies.
fn failures(driver: &str, topologies: &[&str]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine");
    fs::write(&path, driver).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut items = all_items();
    items.retain(|item| topologies.contains(&item.topology.name.as_str()));
    let options = Options { jobs: 4, timeout: std::time::Duration::from_secs(120), fail_fast: None };
    let outcomes = grade(&shipped::driver(&path).unwrap(), &items, &options, &Stop::default(), &|_| {});
    assert!(outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Pass).count() > 20, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.verdict != Verdict::Error), "{outcomes:?}");
    let failed = outcomes.into_iter().filter(|outcome| outcome.verdict == Verdict::Fail);
    failed.map(|outcome| format!("{} on {}: {:?}", outcome.id, outcome.topology, outcome.reason)).collect()
}

/// The page's drivers pass all that is claimed of `pair` and `gateway`, but for what the host does without being told.
#[rstest]
#[case("sh")]
#[case("python")]
fn the_pages_drivers_pass(#[case] language: &str) {
    let mut failed = failures(&blocks(PAGE, language).join("\n\n"), &["pair", "gateway"]);
    failed.retain(|failure| !failure.starts_with("neighbour/the-uplink-does-not-answer-for-the-bridge on gateway: "));
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The README's tests are those that are run.
#[test]
fn the_readmes_tests_are_run() {
    let shown = blocks(README, "rust");
    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|block| TESTS.contains(block)), "harness/tests/readme/main.rs has others");
}

/// The README's driver fails what the README says it fails.
#[test]
fn the_readmes_driver_fails_what_it_says() {
    let driver = blocks(README, "sh").into_iter().find(|block| block.starts_with("#!/bin/sh")).unwrap();
    let failed = failures(driver, &["pair"]);
    let ids: BTreeSet<&str> = failed.iter().filter_map(|failure| failure.split(' ').next()).collect();
    assert_eq!(ids.len(), 3, "{failed:#?}");
    assert!(ids.iter().all(|id| README.contains(&format!("`{id}`"))), "{failed:#?}");
}
