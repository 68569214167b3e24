//! The command `netproof`.

fn main() {}
