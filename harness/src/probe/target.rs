//! What a probe is aimed at.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::Namespace;

/// What a probe is aimed at: an address, and what it belongs to where that is known.
///
/// Made from an address, or from a lab's node.
///
/// ```
/// use std::net::Ipv4Addr;
/// let target = netproof::Target::from(Ipv4Addr::new(10, 20, 30, 41));
/// assert_eq!(target.to_string(), "10.20.30.41");
/// ```
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub address: IpAddr,
    /// What a message calls it: `netns1`; the address itself where it has no name.
    pub label: String,
    /// Where the address is, if known: its state belongs to a failure's evidence.
    pub namespace: Option<Namespace>,
}

impl From<IpAddr> for Target {
    fn from(address: IpAddr) -> Self {
        Self { address, label: address.to_string(), namespace: None }
    }
}

impl From<Ipv4Addr> for Target {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Target {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

impl Target {
    /// ` (netns1)`, where it has a name.
    pub(crate) fn whose(&self) -> String {
        if self.label == self.address.to_string() { String::new() } else { format!(" ({})", self.label) }
    }
}

/// `10.20.30.41`, or with a name `10.20.30.41 (netns1)`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, self.whose())
    }
}
