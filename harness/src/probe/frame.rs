//! Parsed frames, and filters for them.
