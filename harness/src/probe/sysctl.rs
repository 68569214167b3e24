//! Sysctls, as `sysctl` prints them.

use std::fmt;

use super::{Probe, Seen, Watch, traffic::Again};
use crate::{Deadline, Namespace, Result};

impl Namespace {
    /// Looks at a sysctl. Equivalent to `sysctl NAME`; patterns see `Some("1")`, or `None` where this kernel does not
    /// have it. A device that it is of has to be there.
    ///
    /// ```no_run
    /// # let lab = netproof::Lab::of("gateway")?;
    /// netproof::expect!(lab.host().setting("net.ipv4.ip_forward"), Some("1"));
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn setting(&self, name: &str) -> Setting {
        Setting { namespace: self.clone(), name: name.into() }
    }
}

/// A probe of one sysctl.
#[derive(Clone, Debug)]
#[must_use]
pub struct Setting {
    namespace: Namespace,
    name: String,
}

/// What a sysctl is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its value; `None` where this kernel does not have it.
    pub value: Option<String>,
}

impl Setting {
    /// Fails where it is of a device that is not there: `net.ipv4.conf.DEV.rp_filter`, a dot within `DEV` as `/`.
    fn check_device(&self) -> Result<()> {
        let parts: Vec<&str> = self.name.split('.').collect();
        match parts[..] {
            ["net", _, "conf" | "neigh", dev, _] if !matches!(dev, "all" | "default") => {
                self.namespace.index(&dev.replace('/', ".")).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Probe for Setting {
    type Output = Value;

    fn describe(&self) -> String {
        format!("{}: sysctl {}", self.namespace.name(), self.name)
    }

    fn look(&self, _deadline: Deadline) -> Result<Value> {
        let value = self.namespace.sysctl_if_there(&self.name)?;
        if value.is_none() {
            self.check_device()?;
        }
        Ok(Value { name: self.name.clone(), value })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for Value {
    type As<'a> = Option<&'a str>;

    fn seen(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.name),
            None => write!(f, "{}: no such sysctl", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::look;

    /// A sysctl's value is seen, and its absence.
    #[test]
    fn a_value_or_none() {
        let alone = Namespace::new("alone").unwrap();
        alone.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
        let seen = look(&alone.setting("net.ipv4.ip_forward"));
        assert_eq!((seen.seen(), seen.to_string().as_str()), (Some("1"), "net.ipv4.ip_forward = 1"));
        for absent in ["net.ipv4.conf.lo.nothing", "net.ipv4.conf.all.nothing", "net.nothing"] {
            assert_eq!(look(&alone.setting(absent)).seen(), None, "{absent}");
        }
        let of_none = alone.setting("net.ipv4.conf.eth7.rp_filter").look(Deadline::after(std::time::Duration::ZERO));
        assert!(of_none.unwrap_err().to_string().contains("eth7"));
    }
}
