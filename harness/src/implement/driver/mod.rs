//! An implementation that is a program.
