//! Forwarding databases of bridges.
