//! Claims that belong together.

use crate::{case::Case, cases};

/// Claims that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name: what its cases' ids start with.
    pub name: &'static str,
    /// One sentence that says what it is about.
    pub about: &'static str,
    /// Its cases.
    pub cases: &'static [Case],
}

/// Every suite: the article's topologies in its order, then one for each subject.
pub const SUITES: &[Suite] = cases::ALL;

/// Every case of every suite.
pub fn all_cases() -> impl Iterator<Item = &'static Case> {
    SUITES.iter().flat_map(|suite| suite.cases)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Ids are unique, start with their suite's name, and are in plain words; topologies exist.
    #[test]
    fn ids_are_in_order() {
        let mut seen = BTreeSet::new();
        for suite in SUITES {
            for case in suite.cases {
                assert!(seen.insert(case.id), "{} is there twice", case.id);
                assert_eq!(case.suite(), suite.name, "{}", case.id);
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '/';
                assert!(case.id.chars().all(plain), "{}", case.id);
                assert!(!case.on.is_empty(), "{}", case.id);
                for topology in case.on {
                    netproof::Topology::shipped(topology).unwrap();
                }
                for text in [case.claim, case.failing] {
                    assert!(text.ends_with('.') && text.len() > 20, "{}: `{text}` is no sentence", case.id);
                }
                assert!(!case.source.is_empty(), "{}", case.id);
            }
        }
    }

    /// No id of an earlier version vanishes. `UPDATE=1` adds new ones.
    #[test]
    fn the_list_of_ids_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/case-ids.txt");
        let known: BTreeSet<String> = all_cases().map(|case| case.id.to_owned()).collect();
        let mut listed: BTreeSet<String> =
            std::fs::read_to_string(&path).unwrap_or_default().lines().map(ToOwned::to_owned).collect();
        if std::env::var_os("UPDATE").is_some() {
            listed.extend(known.iter().cloned());
            let text: String = listed.iter().map(|id| format!("{id}\n")).collect();
            std::fs::write(&path, text).unwrap();
        }
        let vanished: Vec<_> = listed.difference(&known).collect();
        assert!(vanished.is_empty(), "ids are never given up silently: {vanished:?}");
        let unlisted: Vec<_> = known.difference(&listed).collect();
        assert!(unlisted.is_empty(), "not listed: {unlisted:?}: UPDATE=1 cargo test -p netproof-suites fresh");
    }
}
