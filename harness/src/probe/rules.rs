//! nf_tables rules, as `nft list ruleset` prints them.

use super::{Probe, Seen, Watch, traffic::Again};
use crate::{
    Deadline, Namespace, Result,
    firewall::{Ruleset, Table},
};

impl Namespace {
    /// Looks at every rule. Equivalent to `nft list ruleset`.
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
        Ok(Again::from(&self.namespace))
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
