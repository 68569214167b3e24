//! The processes of a lab.
