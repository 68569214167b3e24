//! The links of a namespace.
