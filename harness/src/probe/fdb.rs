//! Forwarding databases.
