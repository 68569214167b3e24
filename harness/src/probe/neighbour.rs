//! Neighbour states.
