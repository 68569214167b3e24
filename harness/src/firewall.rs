//! nf_tables rules, written as `nft` prints them.
