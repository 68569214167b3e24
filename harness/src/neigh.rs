//! Neighbours.
