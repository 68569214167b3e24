//! The built-in implementation with a fault.

use netproof::{
    Result,
    implement::{Implementation, Native, Site},
    protocol::{Description, Reply, Request},
};

use super::{
    Mutant,
    fault::{Call, Fault},
};

/// The built-in implementation, and what is wrong with it.
pub(super) struct Mutated {
    native: Native,
    mutant: Mutant,
}

impl Mutated {
    pub(super) fn new(mutant: &Mutant) -> Self {
        Self { native: Native::without(mutant.without.iter().copied()), mutant: mutant.clone() }
    }

    /// One verb, with its fault.
    fn faulty<T: Default>(
        fault: &Fault,
        verb: &str,
        site: &Site,
        request: &Request,
        act: impl FnOnce(&Request) -> Result<T>,
    ) -> Result<T> {
        let call = Call { verb, topology: &request.topology.name };
        fault.before(site, &call)?;
        let answer = if fault.skip { T::default() } else { act(&Request::new(&fault.asked(&request.topology)?))? };
        fault.after(site, &call)?;
        Ok(answer)
    }
}

impl Implementation for Mutated {
    fn describe(&self, site: &Site) -> Result<Description> {
        self.mutant.describe.before(site, &Call { verb: "describe", topology: "" })?;
        self.native.describe(site)
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        Self::faulty(&self.mutant.up, "up", site, request, |request| self.native.up(site, request))
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.down, "down", site, request, |request| self.native.down(site, request))
    }

    fn add(&self, site: &Site, request: &Request) -> Result<Reply> {
        Self::faulty(&self.mutant.add, "add", site, request, |request| self.native.add(site, request))
    }

    fn remove(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.remove, "remove", site, request, |request| self.native.remove(site, request))
    }

    fn reload(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.reload, "reload", site, request, |request| self.native.reload(site, request))
    }

    fn other(&self, verb: &str, site: &Site, request: &Request) -> Result<()> {
        let fault = &self.mutant.other;
        if fault.is_any() {
            return Self::faulty(fault, verb, site, request, |_| Ok(()));
        }
        self.native.other(verb, site, request)
    }
}
