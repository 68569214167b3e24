//! Validation of a topology, with errors that point at the line.

/// Why a topology cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// What is wrong, and where.
    pub message: String,
}
