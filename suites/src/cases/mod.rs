//! The claims themselves, one file for each suite.

use crate::suite::Suite;

mod pair;

/// Every suite: the article's topologies in its order, then one for each subject.
pub const ALL: &[Suite] = &[pair::SUITE];
