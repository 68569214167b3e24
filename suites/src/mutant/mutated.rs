//! The built-in implementation with a fault.

use netproof::{
    Result,
    implement::{Implementation, Native, Site},
    protocol::{Description, Reply, Request},
};

use super::{Fault, Mutant};

/// The built-in implementation, and what is wrong with it.
pub(super) struct Mutated {
    native: Native,
    mutant: Mutant,
}

impl Mutated {
    pub(super) fn new(mutant: &Mutant) -> Self {
        let Mutant { up, down, add, remove, .. } = mutant;
        let left_out = [up, down, add, remove].into_iter().flat_map(|fault| fault.without.iter().copied());
        Self { native: Native::without(left_out), mutant: mutant.clone() }
    }

    /// One verb, with its fault.
    fn faulty<T: Default>(
        fault: &Fault,
        site: &Site,
        request: &Request,
        verb: impl FnOnce(&Request) -> Result<T>,
    ) -> Result<T> {
        fault.before(site)?;
        let answer = if fault.skip { T::default() } else { verb(&Request::new(&fault.asked(&request.topology)?))? };
        fault.after(site)?;
        Ok(answer)
    }
}

impl Implementation for Mutated {
    fn describe(&self, site: &Site) -> Result<Description> {
        self.mutant.describe.before(site)?;
        self.native.describe(site)
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        Self::faulty(&self.mutant.up, site, request, |request| self.native.up(site, request))
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.down, site, request, |request| self.native.down(site, request))
    }

    fn add(&self, site: &Site, request: &Request) -> Result<Reply> {
        Self::faulty(&self.mutant.add, site, request, |request| self.native.add(site, request))
    }

    fn remove(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.remove, site, request, |request| self.native.remove(site, request))
    }

    fn reload(&self, site: &Site, request: &Request) -> Result<()> {
        Self::faulty(&self.mutant.reload, site, request, |request| self.native.reload(site, request))
    }

    fn other(&self, verb: &str, site: &Site, request: &Request) -> Result<()> {
        let fault = &self.mutant.other;
        if fault.is_any() {
            return Self::faulty(fault, site, request, |_| Ok(()));
        }
        self.native.other(verb, site, request)
    }
}
