//! Links: bridges and veth pairs.
