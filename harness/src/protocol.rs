//! The requests and replies of the driver protocol.
