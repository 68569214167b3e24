//! Waiting until a network is ready to carry traffic: by reading back, and by events.

use std::time::Duration;

use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo, LinkMessage, State},
};

use crate::{Deadline, Error, Namespace, Result, watch::Group};

impl Namespace {
    /// Waits until these links are operationally up and, where they are bridge ports, forwarding.
    ///
    /// Each is asked for by itself: straight after the set-up, about one first ping in five loses its ARP request
    /// because the kernel's link watch has not run, and the question runs it (`linkwatch_sync_dev`).
    pub fn settle(&self, links: &[&str]) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut changes = None;
        for link in links {
            loop {
                if is_ready(&self.link_message(link)?) {
                    break;
                }
                // Subscribed to late: the next look is after it, so that no change falls between.
                let Some(changes) = &mut changes else {
                    changes = Some(self.link_changes()?);
                    continue;
                };
                if !changes.wait(deadline)? {
                    let doing = format!("waiting for link {link} to be up");
                    return Err(Error::Timeout { doing, namespace: self.name().into(), after: deadline.length() });
                }
            }
        }
        Ok(())
    }

    /// Waits until no IPv6 address is tentative: until duplicate address detection (RFC 4862) has ended.
    pub fn settle_addresses(&self) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut changes = self.changes(&[Group::Ipv6Address])?;
        loop {
            let addresses = self.address_messages()?;
            if let Some(duplicate) = addresses.iter().find(|address| has(address, AddressFlags::Dadfailed)) {
                let doing =
                    format!("detecting duplicates of an address of the link with index {}", duplicate.header.index);
                return Err(Error::kernel(doing, self.name(), std::io::Error::from_raw_os_error(libc::EADDRINUSE)));
            }
            if !addresses.iter().any(|address| has(address, AddressFlags::Tentative)) {
                return Ok(());
            }
            if !changes.wait(deadline)? {
                let doing = "waiting for the end of duplicate address detection".into();
                return Err(Error::Timeout { doing, namespace: self.name().into(), after: deadline.length() });
            }
        }
    }
}

fn is_ready(link: &LinkMessage) -> bool {
    let mut up = false;
    let mut forwards = true;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::OperState(state) => up = *state == State::Up,
            LinkAttribute::LinkInfo(infos) => forwards &= infos.iter().all(forwards_or_is_no_port),
            _ => {}
        }
    }
    up && forwards
}

fn forwards_or_is_no_port(info: &LinkInfo) -> bool {
    use rtnetlink::packet_route::link::BridgePortState::Forwarding;
    let LinkInfo::PortData(InfoPortData::BridgePort(port)) = info else { return true };
    port.iter().all(|option| !matches!(option, InfoBridgePort::State(state) if *state != Forwarding))
}

fn has(address: &AddressMessage, flag: AddressFlags) -> bool {
    address
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(flag)))
}
