//! Labs: namespaces that live and die together.
