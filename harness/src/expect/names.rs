//! The names that are in scope in the patterns of [`expect!`](crate::expect!): every view's.

pub use crate::probe::{
    links::LinkView as Link,
    neighbour::State::{self, *},
    outcome::Heard::*,
    route_to::Selected::*,
    talk::Talked,
};
