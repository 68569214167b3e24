//! Addresses.

use std::fmt;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::Names;
use crate::{Namespace, Result};

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The link's name.
    pub dev: String,
    /// The address, and how long its prefix is.
    pub net: IpNet,
    /// Its scope in the words of `ip`: `global`, `link`, `host`.
    pub scope: String,
    /// IPv6: duplicate address detection (RFC 4862) has not ended.
    pub tentative: bool,
    /// IPv6: another has it, so it is not used.
    pub dadfailed: bool,
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
    fn of(message: &AddressMessage, names: &Names) -> Option<Self> {
        let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(set) => flags = *set,
                _ => {}
            }
        }
        // IFA_ADDRESS is the peer's, where there is one.
        let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
        Some(Self {
            dev: names.of(message.header.index),
            net,
            scope: match message.header.scope {
                AddressScope::Universe => "global".into(),
                other => other.to_string(),
            },
            tentative: flags.contains(AddressFlags::Tentative),
            dadfailed: flags.contains(AddressFlags::Dadfailed),
            secondary: flags.contains(AddressFlags::Secondary) && net.addr().is_ipv4(),
            dynamic: !flags.contains(AddressFlags::Permanent),
        })
    }

    pub(super) fn columns(&self) -> Vec<String> {
        vec![self.dev.clone(), self.to_string()]
    }

    /// The address without its device, with what is special about it.
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scope {}", self.net, self.scope)?;
        for (set, word) in [
            (self.secondary, "secondary"),
            (self.dynamic, "dynamic"),
            (self.tentative, "tentative"),
            (self.dadfailed, "dadfailed"),
        ] {
            if set {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

/// In the words of `ip address`: `10.20.30.41/16 scope global`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words(f)
    }
}
