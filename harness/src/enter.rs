//! The way in: privileges, and the user namespace that gives them.
