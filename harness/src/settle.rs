//! Waiting until a network is ready to carry traffic: by reading back, and by events.

use std::time::Duration;

use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        BridgePortState, InfoBridgePort, InfoKind, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
    },
};

use crate::{Deadline, Error, Namespace, Result, watch::Group};

impl Namespace {
    /// Waits until these links are operationally up and, where they are bridge ports, forwarding.
    ///
    /// Each is asked for by itself: straight after the set-up, about one first ping in five loses its ARP request
    /// because the kernel's link watch has not run, and the question runs it (`linkwatch_sync_dev`, since Linux 6.8; before,
    /// a new link's state is unknown until the watch has come by itself, which is an event).
    pub fn settle(&self, links: &[&str]) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut changes = None;
        loop {
            let mut found = self.link_messages_of(links)?.into_iter().zip(links);
            let Some((what, link)) = found.find_map(|(found, link)| Some((not_ready(&found)?, link))) else {
                return Ok(());
            };
            // Subscribed to late: the next look is after it, so that no change falls between.
            let Some(changes) = &mut changes else {
                changes = Some(self.link_changes()?);
                continue;
            };
            if !changes.wait(deadline)? {
                let doing = format!("waiting for link {link} to carry traffic: {what}");
                return Err(Error::Timeout { doing, namespace: self.name().into(), after: deadline.length() });
            }
        }
    }

    /// Waits until no IPv6 address is tentative: until duplicate address detection (RFC 4862) has ended.
    pub fn settle_addresses(&self) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut changes = self.changes(&[Group::Ipv6Address])?;
        loop {
            let addresses = self.address_messages()?;
            if let Some(duplicate) = addresses.iter().find(|address| has(address, AddressFlags::Dadfailed)) {
                let address = duplicate.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(address.to_string()),
                    _ => None,
                });
                let address = address.unwrap_or_default();
                let dev = self.link_name(duplicate.header.index)?.unwrap_or_default();
                let doing =
                    format!("detecting duplicates of {address} on {dev}: another on its segment has that address");
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

/// What a link lacks to carry traffic.
fn not_ready(link: &LinkMessage) -> Option<String> {
    let carrier = link.header.flags.contains(LinkFlags::LowerUp);
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::OperState(State::Unknown) if keeps_state(link) => Some("it is UNKNOWN yet".into()),
        // Devices that keep no operational state, such as the loopback device, are as up as their carrier.
        LinkAttribute::OperState(State::Unknown) => (!carrier).then(|| "it has no carrier".into()),
        LinkAttribute::OperState(state) if *state != State::Up => {
            Some(format!("it is {}", state.to_string().to_uppercase()))
        }
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(not_forwarding),
        _ => None,
    })
}

/// Whether the link watch gives such a link a state, sooner or later.
fn keeps_state(link: &LinkMessage) -> bool {
    let is_kept = |info: &LinkInfo| matches!(info, LinkInfo::Kind(InfoKind::Veth | InfoKind::Bridge));
    link.attributes.iter().any(|of| matches!(of, LinkAttribute::LinkInfo(infos) if infos.iter().any(is_kept)))
}

fn not_forwarding(info: &LinkInfo) -> Option<String> {
    let LinkInfo::PortData(InfoPortData::BridgePort(port)) = info else { return None };
    port.iter().find_map(|option| match option {
        InfoBridgePort::State(state) if *state != BridgePortState::Forwarding => {
            Some(format!("as a port it is {}", state.to_string().to_lowercase()))
        }
        _ => None,
    })
}

fn has(address: &AddressMessage, flag: AddressFlags) -> bool {
    address
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{self, Bridge, Veth};

    /// A port is ready when it forwards, not before; what is missing is told.
    ///
    ///     node[end] --- port[host: br0]
    #[test]
    fn ports_settle_once_they_forward() {
        let (host, node) = (Namespace::new("host").unwrap(), Namespace::new("node").unwrap());
        host.apply(link::set_up("lo")).unwrap();
        host.settle(&["lo"]).unwrap();
        host.apply_all([
            Bridge::new("br0").index(10).down().request(),
            Veth::new("port", "end").master(10).peer_in(&node).request(),
        ])
        .unwrap();
        let lacks = |link| not_ready(&host.link_message(link).unwrap());
        // DOWN, or LOWERLAYERDOWN where the link watch has run in between, or before Linux 6.8 UNKNOWN where it has not.
        assert!(lacks("port").is_some_and(|what| what.ends_with("DOWN") || what == "it is UNKNOWN yet"));
        node.apply(link::set_up("end")).unwrap();
        node.settle(&["end"]).unwrap();
        let disabled = ["as a port it is disabled", "it is UNKNOWN yet"];
        assert!(lacks("port").is_some_and(|what| disabled.contains(&what.as_str())));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| host.settle(&["port", "br0"]));
            host.apply(link::set_up("br0")).unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(lacks("port"), None);
        let error = host.settle(&["port", "nothing"]).unwrap_err().to_string();
        assert!(error.starts_with("looking up link nothing in namespace host: No such device"), "{error}");
    }

    /// Addresses settle when duplicate address detection has ended; a duplicate is an error.
    ///
    ///     a[a0 fd00::1] --- b[b0 fd00::1]
    #[test]
    fn a_duplicate_address_is_an_error() {
        let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
        a.apply(Veth::new("a0", "b0").index(5).peer_in(&b).peer_index(6).request()).unwrap();
        let address = "fd00::1/64".parse().unwrap();
        let both = [(&a, "a0", 5), (&b, "b0", 6)];
        for (namespace, link, _) in both {
            let settings = ["accept_dad", "dad_transmits"].map(|name| (format!("net.ipv6.conf.{link}.{name}"), "1"));
            namespace.set_sysctls(&settings).unwrap();
            namespace.apply(link::set_up(link)).unwrap();
        }
        for (namespace, link, index) in both {
            namespace.apply(crate::addr::add(index, address)).unwrap();
            let settled = namespace.settle_addresses();
            match link {
                "a0" => settled.unwrap(),
                _ => assert!(settled.unwrap_err().to_string().contains("Address already in use")),
            }
        }
    }
}
