//! nf_tables rules, as `nft list ruleset` prints them.

use std::time::Duration;

use super::{Probe, Seen, Watch};
use crate::{
    Deadline, Namespace, Result,
    firewall::{Ruleset, Table},
    ruleset::socket::NetfilterSocket,
};

impl Namespace {
    /// Looks at every rule of the firewall. Equivalent to `nft list ruleset`; for `ip rule` see [`Namespace::policy`].
    ///
    /// ```no_run
    /// # let lab = netproof::Lab::of("gateway-one-subnet")?;
    /// // Nobody has a table of iptables.
    /// netproof::expect!(lab.host().rules(), tables if tables.iter().all(|table| table.name != "filter"));
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn rules(&self) -> Rules {
        Rules { namespace: self.clone() }
    }
}

/// A probe of the nf_tables ruleset.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rules {
    namespace: Namespace,
}

impl Probe for Rules {
    type Output = Ruleset;

    fn describe(&self) -> String {
        format!("{}: nft list ruleset", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<Ruleset> {
        self.namespace.firewall().ruleset()
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Changes(NetfilterSocket::subscribe(&self.namespace, libc::NFNLGRP_NFTABLES as u32)?)))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for Ruleset {
    type As<'a> = &'a [Table];

    fn seen(&self) -> &[Table] {
        &self.tables
    }
}

/// The kernel's news of its rules.
struct Changes(NetfilterSocket);

impl Watch for Changes {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        /// That a rule has counted a packet is no news to the kernel: it is looked for.
        const SOON: Duration = Duration::from_millis(25);
        self.0.wait("waiting for rules to change", deadline.at_most(SOON))?;
        Ok(!deadline.passed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Family;

    /// A change that is made after the watch ends the wait, long before the deadline.
    #[test]
    fn a_change_of_rules_is_news() {
        let host = Namespace::new("host").unwrap();
        let news = NetfilterSocket::subscribe(&host, libc::NFNLGRP_NFTABLES as u32).unwrap();
        let soon = || Deadline::after(Duration::from_millis(20));
        assert!(!news.wait("waiting", soon()).unwrap(), "nothing has changed yet");
        let mut batch = host.firewall().batch();
        batch.add_table(Family::Ip, "np");
        batch.commit().unwrap();
        assert!(news.wait("waiting", Deadline::after(Duration::from_secs(5))).unwrap());
        assert!(!news.wait("waiting", soon()).unwrap(), "all that was new has been read");
        assert_eq!(host.rules().look(soon()).unwrap().to_string(), "table ip np {\n}\n");
    }
}
