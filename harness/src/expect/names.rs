//! The names that are in scope in the patterns of [`expect!`](crate::expect!): every view's.

pub use crate::probe::outcome::Heard::*;
pub use crate::probe::talk::Talked;
