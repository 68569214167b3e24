//! The conformance suite of netproof: claims about container-style networks, and what grades implementations on them.
