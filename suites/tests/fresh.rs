//! The files that are made from others, and that they are what these say. `UPDATE=1` writes them anew.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{collections::BTreeSet, fmt::Write, fs, path::Path, process::Command};

use netproof_suites::{
    Case, SUITES, Suite,
    deviation::{Deviations, Known},
    report::{Report, matrix},
    suite::all_cases,
};

const HEAD: &str = "\
//! Every case on every topology, against the built-in implementation.
//!
//! Made from the suites: `UPDATE=1 cargo test -p netproof-suites fresh` makes it anew.

use netproof_suites::run::claim;
use rstest::rstest;

netproof::enter!();
";

const PAGES: &str = "\
# Suites

Generated from the cases; `netproof explain CASE` tells more.

";

const VERSIONS: &str = "\
# What became of it in other versions

The implementations that come with the command are graded as Debian 12 has them ([the matrix](matrix.md)), and as later
releases have them: `ci/releases sid`. What is known to fail in some of the graded versions and not in the others, made
from the lists in `fixtures/deviations` (`UPDATE=1 cargo test -p netproof-suites fresh`):
";

/// The tests of the cases are those of the suites.
#[test]
fn the_tests_are_fresh() {
    let fresh: String = [HEAD.to_owned()].into_iter().chain(SUITES.iter().map(module)).collect();
    is_fresh("suites/tests/cases.rs", &fresh);
}

/// The list of ids has every case's, and none that is not one's.
#[test]
fn the_list_of_ids_is_fresh() {
    let known: BTreeSet<&str> = all_cases().map(|case| case.id).collect();
    let listed = stored("fixtures/case-ids.txt");
    let vanished: Vec<_> = listed.lines().filter(|id| !known.contains(id)).collect();
    assert!(vanished.is_empty(), "ids are never given up silently: {vanished:?}");
    is_fresh("fixtures/case-ids.txt", &known.iter().map(|id| format!("{id}\n")).collect::<String>());
}

/// The pages of the suites are what `netproof list --markdown` prints.
#[test]
fn the_pages_of_suites_are_fresh() {
    let mut index = PAGES.to_owned();
    for suite in SUITES {
        let _ = writeln!(index, "- [{0}]({0}.md): {1}", suite.name, suite.about);
        let page =
            Command::new(env!("CARGO_BIN_EXE_netproof")).args(["list", "--markdown", suite.name]).output().unwrap();
        is_fresh(&format!("docs/suites/{}.md", suite.name), &String::from_utf8(page.stdout).unwrap());
    }
    is_fresh("docs/suites/README.md", &index);
}

/// The matrix is that of the stored report.
#[test]
fn the_matrix_is_fresh() {
    let report = Report::read(&Path::new(ROOT).join("fixtures/reports/matrix.json")).unwrap();
    is_fresh("docs/matrix.md", &matrix(&report));
}

/// The page of versions is that of the lists.
#[test]
fn the_page_of_versions_is_fresh() {
    let folder = Path::new(ROOT).join("fixtures/deviations");
    let mut lists: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    lists.sort();
    let fresh: String = [VERSIONS.to_owned()].into_iter().chain(lists.iter().map(|list| section(list))).collect();
    is_fresh("docs/versions.md", &fresh);
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// That a file has this text, written there first with `UPDATE=1`.
fn is_fresh(name: &str, fresh: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(Path::new(ROOT).join(name), fresh).unwrap();
    }
    assert!(stored(name) == fresh, "{name} is stale: UPDATE=1 cargo test -p netproof-suites fresh");
}

fn stored(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_default()
}

fn module(suite: &Suite) -> String {
    let mut text = format!("\n/// {}\nmod {} {{\n    use super::*;\n", suite.about, word(suite.name));
    for case in suite.cases {
        text += &test(case);
    }
    text + "}\n"
}

fn test(case: &Case) -> String {
    let mut text = format!("\n    /// {}\n    #[rstest]\n", case.claim);
    for topology in case.on {
        let _ = writeln!(text, "    #[case::{}(\"{topology}\")]", word(topology));
    }
    let name = word(case.id.split_once('/').unwrap().1);
    let _ = writeln!(text, "    #[test_log::test]\n    fn {name}(#[case] topology: &str) {{");
    let _ = writeln!(text, "        claim(\"{}\", topology);\n    }}", case.id);
    text
}

/// As a name in Rust, so that `cargo test port_address` selects `port-address`.
fn word(name: &str) -> String {
    name.replace('-', "_")
}

/// What a list tells of versions; nothing where it knows one.
fn section(path: &Path) -> String {
    let list = Deviations::read(path).unwrap();
    if list.versions.len() < 2 {
        return String::new();
    }
    let name = path.file_stem().unwrap().to_string_lossy();
    let mut text = format!("\n## {name} {}\n\n", list.versions.join(", "));
    let mut left: Vec<&Known> = list.known.iter().filter(|known| !known.versions.is_empty()).collect();
    if left.is_empty() {
        text += "The same in all of them.\n";
    }
    while let Some(first) = left.first().copied() {
        let alike = |known: &&Known| {
            (&known.versions, &known.reason, &known.link) == (&first.versions, &first.reason, &first.link)
        };
        let cases: Vec<_> = left.iter().copied().filter(alike).map(named).collect();
        let link = first.link.as_ref().map(|link| format!(" ({link})")).unwrap_or_default();
        text +=
            &format!("- In {} alone: {}{link}.  \n  {}\n", first.versions.join(", "), first.reason, cases.join(", "));
        left.retain(|known| !alike(known));
    }
    text
}

fn named(known: &Known) -> String {
    let place = known.topology.as_ref().map(|topology| format!(" on `{topology}`")).unwrap_or_default();
    let chance = if known.sometimes { " (by chance)" } else { "" };
    format!("`{}`{place}{chance}", known.case)
}
