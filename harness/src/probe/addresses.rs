//! The addresses of a namespace.
