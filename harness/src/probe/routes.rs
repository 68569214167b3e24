//! The routes of a namespace.
