//! A topology written in Rust.

/// Builds a topology step by step.
pub struct Builder;
