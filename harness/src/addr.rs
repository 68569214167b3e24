//! Addresses, over `RTM_NEWADDR` and `RTM_DELADDR`.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
};

use crate::{Namespace, Result, netlink::Request};

/// Adds an address to the link with this index. Equivalent to `ip address add ADDRESS dev LINK` (broadcast `+`).
pub fn add(link: u32, address: IpNet) -> Request {
    let message = RouteNetlinkMessage::NewAddress(message(link, address));
    Request::create(format!("adding address {address} to"), message).about(link)
}

/// Takes an address from the link with this index. Equivalent to `ip address del ADDRESS dev LINK`.
pub fn delete(link: u32, address: IpNet) -> Request {
    let message = RouteNetlinkMessage::DelAddress(message(link, address));
    Request::change(format!("deleting address {address} from"), message).about(link)
}

fn message(link: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link;
    message.header.prefix_len = address.prefix_len();
    message.header.scope = if address.addr().is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message.header.family = match address {
        IpNet::V4(net) => {
            if net.prefix_len() < 31 && !net.addr().is_loopback() {
                message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
            }
            AddressFamily::Inet
        }
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message
}

/// The IP family of an address, as netlink numbers it.
pub(crate) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

impl Namespace {
    /// Adds an address to a link. Equivalent to `ip address add ADDRESS dev LINK` (broadcast `+`).
    pub fn add_address(&self, link: &str, address: IpNet) -> Result<()> {
        self.apply(add(self.index(link)?, address))
    }

    /// Takes an address from a link. Equivalent to `ip address del ADDRESS dev LINK`.
    pub fn delete_address(&self, link: &str, address: IpNet) -> Result<()> {
        self.apply(delete(self.index(link)?, address))
    }

    /// Every address, as the kernel describes it.
    pub(crate) fn address_messages(&self) -> Result<Vec<AddressMessage>> {
        let found = self.ask("listing addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()), true)?;
        let addresses = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Every address with its prefix length, and the index of its link.
    pub(crate) fn address_list(&self) -> Result<Vec<(u32, IpNet)>> {
        let listed = self.address_messages()?.into_iter().filter_map(|message| {
            let find = |local| {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(address) if local => Some(*address),
                    AddressAttribute::Address(address) if !local => Some(*address),
                    _ => None,
                })
            };
            let address = find(true).or_else(|| find(false))?;
            Some((message.header.index, IpNet::new(address, message.header.prefix_len).ok()?))
        });
        Ok(listed.collect())
    }
}
