//! Look until a pattern holds.
