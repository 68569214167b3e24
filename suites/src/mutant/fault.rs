//! What is wrong at one verb.

use std::{collections::BTreeMap, time::Duration};

use netproof::{Deadline, Error, Result, Topology, implement::Site};
use serde::Deserialize;
use serde_json::Value;

/// What is wrong at one verb.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fault {
    /// The verb does nothing at all, and succeeds.
    pub skip: bool,
    /// What is asked for instead: values by their places in the request, `nodes.1.routes`.
    pub request: BTreeMap<String, Value>,
    /// Lines for the shell, in the lab's `host`, before the verb; where one fails, so does the verb.
    pub before: Vec<String>,
    /// The same, after the verb.
    pub after: Vec<String>,
    /// Rules of the firewall that are other than they should be, after the verb.
    pub rules: Vec<RuleFault>,
}

/// A rule that is other than it should be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFault {
    /// Words that the rule has.
    has: String,
    /// What stands in their place; without it, the rule is missing.
    with: Option<String>,
}

impl Fault {
    /// Whether the verb does something else than it should.
    pub(super) fn is_any(&self) -> bool {
        let Self { skip, request, before, after, rules } = self;
        *skip || !(request.is_empty() && before.is_empty() && after.is_empty() && rules.is_empty())
    }

    /// The topology with what is asked for instead.
    pub(super) fn asked(&self, topology: &Topology) -> Result<Topology> {
        if self.request.is_empty() {
            return Ok(topology.clone());
        }
        let mut value = serde_json::to_value(topology).map_err(|error| wrong(error.to_string()))?;
        for (place, instead) in &self.request {
            let pointer = format!("/{}", place.replace('.', "/"));
            let at = value.pointer_mut(&pointer).ok_or_else(|| wrong(format!("the request has no `{place}`")))?;
            *at = instead.clone();
        }
        serde_json::from_value(value).map_err(|error| wrong(format!("the changed request: {error}")))
    }

    /// Does what is wrong after the verb.
    pub(super) fn after(&self, site: &Site, call: &Call<'_>) -> Result<()> {
        for fault in &self.rules {
            fault.apply(site)?;
        }
        call.run(site, &self.after)
    }

    /// Does what is wrong before the verb.
    pub(super) fn before(&self, site: &Site, call: &Call<'_>) -> Result<()> {
        call.run(site, &self.before)
    }
}

/// One call of a verb.
pub(super) struct Call<'a> {
    pub verb: &'a str,
    pub topology: &'a str,
}

impl Call<'_> {
    /// Runs lines in the lab's shell, with the topology's name as `$topology`. Where one fails, so does the verb.
    fn run(&self, site: &Site, lines: &[String]) -> Result<()> {
        for line in lines {
            let command = site.world()?.command("sh").args(["-c", line]).env("topology", self.topology);
            let output = command.output(Deadline::after(Duration::from_secs(30)))?;
            if !output.status.success() {
                return Err(Error::Implementation {
                    implementation: "mutant".into(),
                    verb: self.verb.into(),
                    message: format!("`{line}`: {}", output.status),
                    evidence: String::from_utf8_lossy(&output.stderr).into_owned(),
                });
            }
        }
        Ok(())
    }
}

impl RuleFault {
    fn apply(&self, site: &Site) -> Result<()> {
        let firewall = site.host.firewall();
        match &self.with {
            None => firewall.delete_rules(|_, _, rule| rule.to_string().contains(&self.has)),
            Some(with) => firewall
                .edit_rules(|_, _, rule| {
                    let text = rule.to_string();
                    text.contains(&self.has).then(|| text.replace(&self.has, with).trim().to_owned())
                })
                .map(|_| ()),
        }
    }
}

fn wrong(what: String) -> Error {
    Error::Usage(format!("the mutant is wrong: {what}"))
}
