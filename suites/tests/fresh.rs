//! `tests/cases.rs` is made from the suites, and `docs/versions.md` from the lists of known failures; this makes them, and
//! holds them to these.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{fmt::Write, fs, path::Path};

use netproof_suites::{
    Case, SUITES, Suite,
    deviation::{Deviations, Known},
};

const HEAD: &str = "\
//! Every case on every topology, against the built-in implementation.
//!
//! Made from the suites: `UPDATE=1 cargo test -p netproof-suites fresh` makes it anew.

use netproof_suites::run::claim;
use rstest::rstest;

netproof::enter!();
";

const VERSIONS: &str = "\
# What became of it in other versions

The implementations that come with the command are graded as Debian 12 has them ([the matrix](matrix.md)), and as later
releases have them: `ci/releases sid`. What is known to fail in some of the graded versions and not in the others, made
from the lists in `fixtures/deviations` (`UPDATE=1 cargo test -p netproof-suites fresh`):
";

/// The tests of the cases are those of the suites. `UPDATE=1` writes them anew.
#[test]
fn the_tests_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases.rs");
    let fresh: String = [HEAD.to_owned()].into_iter().chain(SUITES.iter().map(module)).collect();
    is_fresh(&path, &fresh);
}

/// The page of versions is that of the lists. `UPDATE=1` writes it anew.
#[test]
fn the_page_of_versions_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lists: Vec<_> =
        fs::read_dir(root.join("fixtures/deviations")).unwrap().map(|file| file.unwrap().path()).collect();
    lists.sort();
    let fresh: String = [VERSIONS.to_owned()].into_iter().chain(lists.iter().map(|list| section(list))).collect();
    is_fresh(&root.join("docs/versions.md"), &fresh);
}

/// That a file has this text, written there first with `UPDATE=1`.
fn is_fresh(path: &Path, fresh: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, fresh).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(stored == fresh, "{} is stale: UPDATE=1 cargo test -p netproof-suites fresh", path.display());
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
