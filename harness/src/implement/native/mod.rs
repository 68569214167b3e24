//! The built-in implementation.
