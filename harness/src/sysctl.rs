//! Sysctls of a network namespace.
