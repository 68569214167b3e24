//! The kernel's answer for one destination.
