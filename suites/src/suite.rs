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
}
