//! Mutants: the built-in implementation with one fault each, to see who notices.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use include_dir::{Dir, include_dir};
use netproof::{Topology, implement::Step};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, Level},
    from_toml,
    run::{Item, Options, Outcome, Stop, Subject, Verdict, grade, items_on},
    shipped,
    suite::all_cases,
};

mod fault;
mod mutated;

use self::{fault::Fault, mutated::Mutated};

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/mutants");

/// One fault, and who has to notice it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mutant {
    /// Its file's name, without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// What is wrong, in one sentence.
    pub fault: String,
    /// The topologies that it is tried on, with every case that they have.
    pub on: Vec<String>,
    /// The cases that have to fail, each with words of the cause that its message has to name.
    pub fails: BTreeMap<String, String>,
    /// Suites, cases, or first words of cases' ids that may fail for the same cause; `*`: all. All others have to pass.
    #[serde(default)]
    pub may_fail: Vec<String>,
    /// Steps that the implementation leaves out, at whichever verb.
    #[serde(default)]
    without: Vec<Step>,
    /// What is wrong at each verb.
    #[serde(default)]
    up: Fault,
    #[serde(default)]
    down: Fault,
    #[serde(default)]
    add: Fault,
    #[serde(default)]
    remove: Fault,
    #[serde(default)]
    reload: Fault,
    #[serde(default)]
    describe: Fault,
    /// At verbs that there are not.
    #[serde(default)]
    other: Fault,
}

/// What came of one mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Its name.
    pub name: String,
    /// What is wrong, in one sentence.
    pub fault: String,
    /// What is not as the mutant says; empty: it was caught.
    pub problems: Vec<String>,
    /// What came of each case.
    pub cases: Vec<Outcome>,
}

impl Mutant {
    /// Every mutant that comes with the command, by name.
    pub fn shipped() -> Result<Vec<Self>, String> {
        let files = SHIPPED.files().filter(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
        let mutants = files.map(|file| {
            Self::parse(&file.path().display().to_string(), file.contents_utf8().ok_or("a mutant is no UTF-8")?)
        });
        let mut mutants = mutants.collect::<Result<Vec<Self>, String>>()?;
        mutants.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(mutants)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("reading mutant {}: {error}", path.display()))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a text. `source` is what messages call it.
    pub fn parse(source: &str, text: &str) -> Result<Self, String> {
        let mut mutant: Self = from_toml(source, text)?;
        mutant.name = Path::new(source).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        for topology in &mutant.on {
            Topology::shipped(topology).map_err(|error| format!("{source}: {error}"))?;
        }
        for name in mutant.fails.keys() {
            let is_tried = |case: &Case| case.on.iter().any(|on| mutant.is_on(on) && is_item(name, case.id, on));
            if !all_cases().any(is_tried) {
                return Err(format!("{source}: no case `{name}` is tried on {}", mutant.on.join(", ")));
            }
        }
        let is_known = |name: &&String| *name == "*" || all_cases().any(|case| case.is_meant(name));
        if let Some(odd) = mutant.may_fail.iter().find(|name| !is_known(name)) {
            return Err(format!("{source}: no suite or case is called `{odd}`"));
        }
        Ok(mutant)
    }

    /// Every case of its topologies.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        items_on(|topology| self.is_on(topology))
    }

    fn is_on(&self, topology: &str) -> bool {
        self.on.iter().any(|name| name == topology)
    }

    /// Tries every case of its topologies on it. `told` hears of each as it ends.
    pub fn attempt(&self, jobs: usize, timeout: Duration, stop: &Stop, told: &(dyn Fn(&Outcome) + Sync)) -> Trial {
        let native = shipped::native();
        let subject = Subject { implementation: Arc::new(Mutated::new(self)), ..native };
        let options = Options { jobs, timeout, fail_fast: None };
        let cases = grade(&subject, &self.items(), &options, stop, told);
        let problems = cases.iter().filter_map(|outcome| self.problem(outcome)).collect();
        Trial { name: self.name.clone(), fault: self.fault.clone(), problems, cases }
    }

    /// What is wrong with an outcome, where something is.
    fn problem(&self, outcome: &Outcome) -> Option<String> {
        let Outcome { id, topology, verdict, evidence, reason, .. } = outcome;
        let cause = self.fails.iter().find(|(name, _)| is_item(name, id, topology)).map(|(_, cause)| cause);
        let why = reason.as_deref().unwrap_or_default();
        let is_named = |cause: &str| why.contains(cause) || evidence.as_deref().unwrap_or_default().contains(cause);
        match (verdict, cause) {
            (Verdict::Error, _) => Some(format!("{id} on {topology} ends in an error: {why}")),
            (Verdict::Fail, Some(cause)) if is_named(cause) => None,
            (Verdict::Fail, Some(cause)) => {
                Some(format!("{id} on {topology} fails, but does not name `{cause}`: {why}"))
            }
            (_, Some(_)) => Some(format!("{id} on {topology} does not fail")),
            (Verdict::Fail, None) if !self.may(id) => {
                Some(format!("{id} on {topology} fails, which is not among what may: {why}"))
            }
            _ => None,
        }
    }

    /// Whether a case may fail, besides those that have to.
    fn may(&self, id: &str) -> bool {
        let case = all_cases().find(|case| case.id == id);
        self.may_fail.iter().any(|name| name == "*" || case.is_some_and(|case| case.is_meant(name)))
    }
}

impl Trial {
    /// Whether all was as the mutant says.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many cases failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|outcome| outcome.verdict == Verdict::Fail).count()
    }
}

/// What is claimed of the kernel alone: the case asks no implementation for anything, so that none can fail it.
const OF_THE_KERNEL: [&str; 1] = ["veth/a-moved-end-loses-its-state"];

/// The MUST cases that none of the mutants has to fail: nobody knows whether they can.
#[must_use]
pub fn unproven(mutants: &[Mutant]) -> Vec<&'static str> {
    let named = |id: &str| mutants.iter().flat_map(|mutant| mutant.fails.keys()).any(|name| is_of(name, id));
    let must = all_cases().filter(|case| case.level == Level::Must);
    must.map(|case| case.id).filter(|id| !named(id) && !OF_THE_KERNEL.contains(id)).collect()
}

/// `nat/two@publish` is `nat/two` on `publish` only.
fn is_item(name: &str, id: &str, topology: &str) -> bool {
    is_of(name, id) && name.split_once('@').is_none_or(|(_, only)| only == topology)
}

fn is_of(name: &str, id: &str) -> bool {
    name.split_once('@').map_or(name, |(id, _)| id) == id
}

#[cfg(test)]
mod tests;
