//! `tests/cases.rs` is made from the suites; this makes it, and holds it to them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{fmt::Write, fs, path::Path};

use netproof_suites::{Case, SUITES, Suite};

const HEAD: &str = "\
//! Every case on every topology, against the built-in implementation.
//!
//! Made from the suites: `UPDATE=1 cargo test -p netproof-suites fresh` makes it anew.

use netproof_suites::run::claim;
use rstest::rstest;

netproof::enter!();
";

/// The tests of the cases are those of the suites. `UPDATE=1` writes them anew.
#[test]
fn the_tests_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases.rs");
    let fresh: String = [HEAD.to_owned()].into_iter().chain(SUITES.iter().map(module)).collect();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
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
