//! Addresses, much as `ip -brief address` prints them.

use std::fmt;

use super::{Probe, Seen, Watch};
use crate::{Deadline, Namespace, Result, state::Address, watch::Group};

impl Namespace {
    /// Looks at every address. Equivalent to `ip address`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway")?;
    /// expect!(lab.host().addresses().on("br0"), [first, ..] if first.address.to_string() == "10.20.30.1/24");
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn addresses(&self) -> Addresses {
        Addresses { namespace: self.clone(), dev: None }
    }
}

/// A probe of every address.
#[derive(Clone, Debug)]
#[must_use]
pub struct Addresses {
    namespace: Namespace,
    dev: Option<String>,
}

/// Every address of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressList(pub Vec<Address>);

impl Addresses {
    /// Only those of this device, which must be there.
    pub fn on(mut self, dev: impl Into<String>) -> Self {
        self.dev = Some(dev.into());
        self
    }

    /// Lists them.
    pub fn list(&self) -> Result<Vec<Address>> {
        // A name that no device has is an error, and not a list of none.
        let dev = self.dev.as_deref().map(|dev| self.namespace.index(dev)).transpose()?;
        let mut addresses = self.namespace.address_messages()?;
        addresses.retain(|message| dev.is_none_or(|dev| message.header.index == dev));
        let names = self.namespace.link_names(addresses.iter().map(|message| message.header.index))?;
        Ok(addresses.iter().filter_map(|message| Address::of(message, &names)).collect())
    }
}

impl Probe for Addresses {
    type Output = AddressList;

    fn describe(&self) -> String {
        let dev = self.dev.iter().map(|dev| format!(" show dev {dev}")).collect::<String>();
        format!("{}: ip address{dev}", self.namespace.name())
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
        super::lines(f, &Address::table(&self.0).lines())
    }
}

#[cfg(test)]
mod tests {
    use crate::probe::testing::pair;

    /// Addresses are listed with their device and what is special about them, and go when they are deleted.
    ///
    ///     a[a0 10.0.0.1/24 fd00::1/64] --- b
    #[test]
    fn addresses_come_and_go() {
        let (a, _b) = pair();
        let line = |own: &crate::state::Address| format!("{} {own}", own.dev);
        let shown = || a.addresses().list().unwrap().iter().map(line).collect::<Vec<_>>();
        let has = |line: &str| shown().iter().any(|shown| shown == line);
        for line in
            ["a0 10.0.0.1/24 brd 10.0.0.255 scope global", "a0 fd00::1/64 scope global", "lo 127.0.0.1/8 scope host"]
        {
            assert!(has(line), "{line} in {:?}", shown());
        }
        a.set_sysctls(&["accept_dad", "dad_transmits"].map(|name| (format!("net.ipv6.conf.a0.{name}"), "1"))).unwrap();
        a.add_address("a0", "fd00::7/64".parse().unwrap()).unwrap();
        assert!(has("a0 fd00::7/64 scope global tentative"), "{:?}", shown());
        a.settle_addresses().unwrap();
        assert!(has("a0 fd00::7/64 scope global"), "{:?}", shown());
        crate::expect!(a.addresses().on("lo"), list if list.iter().all(|address| address.dev == "lo") && list.len() == 2);
        a.delete_address("a0", "fd00::7/64".parse().unwrap()).unwrap();
        assert!(!shown().iter().any(|line| line.contains("fd00::7")), "{:?}", shown());
        let ours = "10.0.0.1/24".parse().unwrap();
        let error = a.add_address("a0", ours).unwrap_err().to_string();
        assert!(error.starts_with("adding address 10.0.0.1/24 to a0") && error.contains("exists"), "{error}");
        let error = a.apply(crate::addr::add(999, ours)).unwrap_err().to_string();
        assert!(
            error.starts_with("adding address 10.0.0.1/24 to a device with index 999, which is not there"),
            "{error}"
        );
    }
}
