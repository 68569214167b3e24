//! nf_tables rules.
