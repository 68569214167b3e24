//! What a probe is aimed at.
