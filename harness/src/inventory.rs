//! What stands in a namespace, and what changed.
