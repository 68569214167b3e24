//! Addresses.

use std::{fmt, net::Ipv4Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::{Names, Table};
use crate::{Namespace, Result};

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The link's name.
    pub dev: String,
    /// The address, with its prefix length.
    pub address: IpNet,
    /// The broadcast address that programs are told of it (`SIOCGIFBRDADDR`, netdevice(7)), where one was set.
    pub broadcast: Option<Ipv4Addr>,
    /// Its scope in the words of `ip`: `global`, `link`, `host`.
    pub scope: String,
    /// IPv6: duplicate address detection (RFC 4862) has not ended.
    pub tentative: bool,
    /// IPv6: another has it, so it is not used.
    pub dadfailed: bool,
    /// IPv6: no new connection is to be made from it, as long as there is another (RFC 4862 5.5.4).
    pub deprecated: bool,
    /// Another address of the same prefix came before it.
    pub secondary: bool,
    /// It was made by the kernel's own hand (a router advertisement), and has a lifetime.
    pub dynamic: bool,
}

pub(super) fn read(namespace: &Namespace, names: &Names) -> Result<Vec<Address>> {
    let messages = namespace.address_messages()?;
    Ok(messages.iter().filter_map(|message| Address::of(message, names)).collect())
}

impl Address {
    pub(crate) fn of(message: &AddressMessage, names: &Names) -> Option<Self> {
        let (mut local, mut address, mut broadcast, mut flags) = (None, None, None, AddressFlags::empty());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Broadcast(ip) => broadcast = Some(*ip),
                AddressAttribute::Flags(set) => flags = *set,
                _ => {}
            }
        }
        // IFA_ADDRESS is the peer's, where there is one.
        let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
        Some(Self {
            dev: names.of(message.header.index),
            address,
            broadcast,
            scope: match message.header.scope {
                AddressScope::Universe => "global".into(),
                other => other.to_string(),
            },
            tentative: flags.contains(AddressFlags::Tentative),
            dadfailed: flags.contains(AddressFlags::Dadfailed),
            deprecated: flags.contains(AddressFlags::Deprecated),
            secondary: flags.contains(AddressFlags::Secondary) && address.addr().is_ipv4(),
            dynamic: !flags.contains(AddressFlags::Permanent),
        })
    }

    /// Addresses in the columns of `ip -brief address`.
    pub(crate) fn table(addresses: &[Self]) -> Table {
        addresses.iter().map(|own| vec![own.dev.clone(), own.to_string()]).collect()
    }
}

/// In the words of `ip address`, without its device: `10.20.30.41/16 brd 10.20.255.255 scope global`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(broadcast) = self.broadcast {
            write!(f, " brd {broadcast}")?;
        }
        write!(f, " scope {}", self.scope)?;
        for (set, word) in [
            (self.secondary, "secondary"),
            (self.dynamic, "dynamic"),
            (self.tentative, "tentative"),
            (self.dadfailed, "dadfailed"),
            (self.deprecated, "deprecated"),
        ] {
            if set {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}
