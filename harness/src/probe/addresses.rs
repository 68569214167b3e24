//! Addresses, as `ip -brief address` prints them.

use std::{collections::HashMap, fmt};

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Namespace, Result, link::name_of, watch::Group};

impl Namespace {
    /// Looks at every address. Equivalent to `ip address`.
    pub fn addresses(&self) -> Addresses {
        Addresses { namespace: self.clone() }
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Address {
    /// The link's name.
    pub dev: String,
    /// The address, with its prefix length.
    pub address: IpNet,
    /// Whether duplicate address detection (RFC 4862) is still at work.
    pub tentative: bool,
    /// Whether duplicate address detection found another owner.
    pub dadfailed: bool,
    /// Whether it was configured for good, not learned.
    pub permanent: bool,
}

/// A probe of every address.
#[derive(Clone, Debug)]
#[must_use]
pub struct Addresses {
    namespace: Namespace,
}

/// Every address of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressList(pub Vec<Address>);

impl Addresses {
    /// Lists them.
    pub fn list(&self) -> Result<Vec<Address>> {
        let links = self.namespace.link_messages()?;
        let names: HashMap<u32, &str> =
            links.iter().filter_map(|link| Some((link.header.index, name_of(link)?))).collect();
        let addresses = self.namespace.address_messages()?;
        Ok(addresses.iter().filter_map(|message| describe(message, &names)).collect())
    }
}

impl Probe for Addresses {
    type Output = AddressList;

    fn describe(&self) -> String {
        format!("{}: ip address", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<AddressList> {
        self.list().map(AddressList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Link, Group::Ipv4Address, Group::Ipv6Address])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for AddressList {
    type As<'a> = &'a [Address];

    fn seen(&self) -> &[Address] {
        &self.0
    }
}

impl fmt::Display for AddressList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16} {}", self.dev, self.address)?;
        for (flag, word) in [(self.tentative, "tentative"), (self.dadfailed, "dadfailed"), (!self.permanent, "dynamic")]
        {
            if flag {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

fn describe(message: &AddressMessage, names: &HashMap<u32, &str>) -> Option<Address> {
    let mut local = None;
    let mut address = None;
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Flags(found) => flags = *found,
            _ => {}
        }
    }
    Some(Address {
        dev: (*names.get(&message.header.index)?).to_owned(),
        address: IpNet::new(local.or(address)?, message.header.prefix_len).ok()?,
        tentative: flags.contains(AddressFlags::Tentative),
        dadfailed: flags.contains(AddressFlags::Dadfailed),
        permanent: flags.contains(AddressFlags::Permanent),
    })
}
