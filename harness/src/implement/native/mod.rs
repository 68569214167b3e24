//! The built-in implementation: netlink alone, no program of the machine's.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

use super::{Implementation, Site};
use crate::{
    Error, Result, Topology,
    protocol::{Description, Reply, Request, VERSION},
    topology::Route,
};

mod announce;
mod firewall;
mod rules;
mod settings;
mod wiring;

use self::settings::Settings;

/// The built-in implementation.
#[derive(Default)]
pub struct Native {
    /// What stands in each host, by the namespace's identity.
    stands: Mutex<HashMap<(u64, u64), Stands>>,
    left_out: BTreeSet<Step>,
}

/// A step of the built-in implementation that nobody sees in what stands: left out, to see who notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The name of what is to be built is looked for before anything is.
    RefuseWhatStands,
    /// An `up` that fails takes back what it had built by then.
    RollBack,
    /// `down` and `remove` take the rules away.
    TakeRulesAway,
    /// `down` takes the bridges and veths away.
    TakeLinksAway,
    /// `down` puts sysctls back as they were.
    PutSysctlsBack,
    /// Tracked flows to published ports are forgotten.
    ForgetFlows,
    /// The host's neighbour entries for nodes that go are forgotten.
    ForgetNeighbours,
    /// Neighbours are told of an added node's MAC address.
    Announce,
}

impl Implementation for Native {
    fn describe(&self, _site: &Site) -> Result<Description> {
        Ok(Self::description())
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        blamed("up", self.up_here(site, request))
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        blamed("down", self.down_here(site, request))
    }

    fn add(&self, site: &Site, request: &Request) -> Result<Reply> {
        blamed("add", self.add_here(site, request))
    }

    fn remove(&self, site: &Site, request: &Request) -> Result<()> {
        blamed("remove", self.remove_here(site, request))
    }

    fn reload(&self, site: &Site, request: &Request) -> Result<()> {
        blamed("reload", self.reload_here(site, request))
    }
}

/// Whatever goes wrong at a verb is the implementation's failure, as a driver's exit status would be.
fn blamed<T>(verb: &str, answer: Result<T>) -> Result<T> {
    answer.map_err(|error| match error {
        Error::Implementation { .. } | Error::Unsupported(_) => error,
        other => Error::Implementation {
            implementation: "native".into(),
            verb: verb.into(),
            message: other.to_string(),
            evidence: String::new(),
        },
    })
}

/// What `up` made and changed in one host.
#[derive(Debug, Default)]
struct Stands {
    topology: Topology,
    settings: Settings,
    /// The host's routes: those that are there already are another's, and stay.
    routes: Vec<Route>,
}

impl Native {
    /// What it says of itself, which it can say without a lab.
    #[must_use]
    pub fn description() -> Description {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Description {
            protocol: VERSION,
            name: "native".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            verbs: texts(&["up", "down", "add", "remove", "reload"]),
            topologies: texts(&["*"]),
            ..Description::default()
        }
    }

    /// It without these steps: faulty on purpose.
    #[must_use]
    pub fn without(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { left_out: steps.into_iter().collect(), ..Self::default() }
    }

    fn up_here(&self, site: &Site, request: &Request) -> Result<Reply> {
        let topology = &request.topology;
        if self.does(Step::RefuseWhatStands) {
            wiring::refuse_what_stands(site, "up", &topology.bridges, &topology.nodes)?;
        }
        self.build(site, topology).inspect_err(|_| {
            if self.does(Step::RollBack) {
                // The first error is the one to tell; what could not be taken back shows in what is left.
                let _ = self.down_here(site, request);
            }
        })?;
        Ok(Reply::default())
    }

    fn down_here(&self, site: &Site, request: &Request) -> Result<()> {
        let topology = &request.topology;
        if self.does(Step::TakeRulesAway) {
            firewall::clear(&site.host)?;
        }
        let key = key(site)?;
        if self.does(Step::TakeLinksAway) {
            let routes = self.stands().get(&key).map(|stands| stands.routes.clone()).unwrap_or_default();
            routes.iter().rev().try_for_each(|route| site.host.delete_route_if_there(route))?;
            wiring::down(site)?;
        }
        self.forget(site, topology)?;
        // Known until here: a `down` that failed before can be tried again.
        match self.stands().remove(&key) {
            Some(stands) if self.does(Step::PutSysctlsBack) => stands.settings.put_back(&site.host),
            _ => Ok(()),
        }
    }

    fn add_here(&self, site: &Site, request: &Request) -> Result<Reply> {
        let part = &request.topology;
        let mut whole = self.known(site, |known| known.clone())?;
        whole.nodes.extend(part.nodes.iter().cloned());
        whole.nat.publish.extend(part.nat.publish.iter().cloned());
        // So that nothing of anybody's has the names of what is taken back.
        wiring::refuse_what_stands(site, "add", &[], &part.nodes)?;
        wiring::add(site, part, &whole).inspect_err(|_| {
            let _ = wiring::remove(site, part);
        })?;
        // Known from here on: what could not be wired does not stand.
        self.known(site, |known| known.clone_from(&whole))?;
        self.connect(site, part, &whole).inspect_err(|_| {
            // The first error is the one to tell; what could not be taken back shows in what is left.
            let _ = self.remove_here(site, request);
        })?;
        Ok(Reply::default())
    }

    /// What comes after the links of added nodes.
    fn connect(&self, site: &Site, part: &Topology, whole: &Topology) -> Result<()> {
        self.secure(site, whole)?;
        self.set(site, |settings| settings.set_for_ports(&site.host, whole))?;
        self.forget_flows(site, part)?;
        if self.does(Step::Announce) { announce::announce(site, part) } else { Ok(()) }
    }

    fn remove_here(&self, site: &Site, request: &Request) -> Result<()> {
        let part = &request.topology;
        let is_going = |name: &str| part.nodes.iter().any(|node| node.name == name);
        let whole = self.known(site, |whole| {
            whole.nodes.retain(|node| !is_going(&node.name));
            whole.nat.publish.retain(|publish| !is_going(&publish.node) && !part.nat.publish.contains(publish));
            whole.clone()
        })?;
        wiring::remove(site, part)?;
        if self.does(Step::TakeRulesAway) {
            self.secure(site, &whole)?;
        }
        self.forget(site, part)
    }

    fn reload_here(&self, site: &Site, request: &Request) -> Result<()> {
        self.secure(site, &request.topology)
    }

    fn does(&self, step: Step) -> bool {
        !self.left_out.contains(&step)
    }

    fn build(&self, site: &Site, topology: &Topology) -> Result<()> {
        self.stands().insert(key(site)?, Stands { topology: topology.clone(), ..Stands::default() });
        // Closed before it is open: nothing passes that should not, not even for a moment.
        self.secure(site, topology)?;
        self.set(site, |settings| settings.set(&site.host, topology))?;
        wiring::up(site, topology)?;
        self.route(site, topology)?;
        self.secure_ports(site, topology)?;
        self.set(site, |settings| settings.set_for_ports(&site.host, topology))?;
        // Nobody can remember the nodes' addresses from before, as after `add`: so nothing is announced.
        self.forget_flows(site, topology)
    }

    /// The routes that the host is to have.
    fn route(&self, site: &Site, topology: &Topology) -> Result<()> {
        let key = key(site)?;
        for wanted in &topology.host.routes {
            site.host.add_route(wanted)?;
            self.stands().entry(key).or_default().routes.push(wanted.clone());
        }
        Ok(())
    }

    /// What the host remembers of nodes that go.
    fn forget(&self, site: &Site, topology: &Topology) -> Result<()> {
        self.forget_flows(site, topology)?;
        if self.does(Step::ForgetNeighbours) { announce::forget_neighbours(site, topology) } else { Ok(()) }
    }

    fn forget_flows(&self, site: &Site, topology: &Topology) -> Result<()> {
        if self.does(Step::ForgetFlows) {
            announce::forget_flows(site, &topology.nat.publish, topology)
        } else {
            Ok(())
        }
    }

    /// The rules for the topology, with the nodes' MAC addresses where it does not say them.
    fn secure(&self, site: &Site, topology: &Topology) -> Result<()> {
        firewall::set(&site.host, &wiring::with_macs(site, topology)?)
    }

    /// Rules that need to know the nodes' MAC addresses, which are there only now.
    fn secure_ports(&self, site: &Site, topology: &Topology) -> Result<()> {
        if topology.bridges.iter().any(|bridge| bridge.anti_spoof) { self.secure(site, topology) } else { Ok(()) }
    }

    fn set(&self, site: &Site, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let key = key(site)?;
        let mut stands = self.stands();
        change(&mut stands.entry(key).or_default().settings)
    }

    /// Looks at what is known to stand, or changes it.
    fn known<T>(&self, site: &Site, code: impl FnOnce(&mut Topology) -> T) -> Result<T> {
        let key = key(site)?;
        let mut stands = self.stands();
        let known =
            stands.get_mut(&key).ok_or_else(|| Error::Usage("nothing stands here that could be changed".into()))?;
        Ok(code(&mut known.topology))
    }

    fn stands(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, u64), Stands>> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(site: &Site) -> Result<(u64, u64)> {
    site.host.identity().map_err(|error| Error::kernel("identifying the namespace", site.host.name(), error))
}
