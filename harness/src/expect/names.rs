//! The names that are in scope in the patterns of [`expect!`](crate::expect!): every view's.

pub use crate::{
    probe::{links::LinkView as Link, outcome::Heard::*, route_to::Selected::*, talk::Talked},
    state::Nud::{self, *},
};
