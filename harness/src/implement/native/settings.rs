//! Sysctls that a topology needs, and how they were before.

use crate::{Namespace, Result, Topology};

/// Sysctls that were changed, with the values that they had.
#[derive(Debug, Default)]
pub(super) struct Settings {
    before: Vec<(String, String)>,
}

impl Settings {
    /// Sets what the topology needs.
    pub(super) fn set(&mut self, host: &Namespace, topology: &Topology) -> Result<()> {
        if !topology.host.forwarding {
            return Ok(());
        }
        let has = |v4: bool| {
            topology.bridges.iter().flat_map(|bridge| &bridge.addresses).any(|net| net.addr().is_ipv4() == v4)
        };
        if has(true) {
            self.turn_on(host, "net.ipv4.ip_forward", "net.ipv4.conf")?;
        }
        if has(false) {
            // A host that forwards ignores router advertisements, and loses its default route, unless told otherwise.
            if let Some(uplink) = &topology.host.uplink {
                self.change(host, &format!("net.ipv6.conf.{}.accept_ra", uplink.interface.replace('.', "/")), "2")?;
            }
            self.turn_on(host, "net.ipv6.conf.all.forwarding", "net.ipv6.conf")?;
        }
        Ok(())
    }

    /// Sets what the topology needs of devices that are there only now.
    pub(super) fn set_for_ports(&mut self, host: &Namespace, topology: &Topology) -> Result<()> {
        if topology.nat.publish.iter().all(|publish| publish.host_address.is_some_and(|host| host.is_ipv6())) {
            return Ok(());
        }
        for bridge in &topology.bridges {
            // The host's own 127.0.0.1 may be passed on to a node; nobody else's packets to it: see the chain `raw`.
            self.change(host, &format!("net.ipv4.conf.{}.route_localnet", bridge.name.replace('.', "/")), "1")?;
        }
        Ok(())
    }

    /// Turns forwarding on, which sets every device's own and that of devices to come: those that forwarded before are put
    /// back after it.
    fn turn_on(&mut self, host: &Namespace, name: &str, conf: &str) -> Result<()> {
        if host.sysctl(name)? == "1" {
            return Ok(());
        }
        let devices = host.links().list()?.into_iter().map(|link| link.name.replace('.', "/"));
        let devices = devices.chain(["default".to_owned()]);
        let own: Vec<String> = devices.map(|device| format!("{conf}.{device}.forwarding")).collect();
        for (own, value) in own.iter().zip(host.sysctls_if_there(&own)?) {
            if value.as_deref() == Some("1") {
                self.before.push((own.clone(), "1".to_owned()));
            }
        }
        self.change(host, name, "1")
    }

    /// Sets one sysctl, unless it is so already.
    pub(super) fn change(&mut self, host: &Namespace, name: &str, value: &str) -> Result<()> {
        let before = host.sysctl(name)?;
        if before != value {
            host.set_sysctl(name, value)?;
            self.before.push((name.to_owned(), before));
        }
        Ok(())
    }

    /// Puts everything back, the last change first.
    pub(super) fn put_back(self, host: &Namespace) -> Result<()> {
        for (name, before) in self.before.iter().rev() {
            // A sysctl of a device that is gone needs no putting back.
            if host.sysctl_if_there(name)?.is_some() {
                host.set_sysctl(name, before)?;
            }
        }
        Ok(())
    }
}
