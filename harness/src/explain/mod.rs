//! Where a packet went missing, and why.
