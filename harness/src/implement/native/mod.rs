//! The built-in implementation: netlink alone, no program of the machine's.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Implementation, Site};
use crate::{
    Error, Result, Topology,
    protocol::{Description, Reply, Request, VERSION},
};

mod settings;
mod wiring;

use self::settings::Settings;

/// The built-in implementation.
#[derive(Default)]
pub struct Native {
    /// What `up` changed in each host, by the namespace's identity, to be put back by `down`.
    changed: Mutex<HashMap<(u64, u64), Settings>>,
}

impl Implementation for Native {
    fn describe(&self, _site: &Site) -> Result<Description> {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Ok(Description {
            protocol: VERSION,
            name: "native".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            verbs: texts(&["up", "down", "add", "remove", "reload"]),
            topologies: texts(&["*"]),
            ..Description::default()
        })
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        let topology = &request.topology;
        wiring::refuse_what_stands(site, topology)?;
        self.build(site, topology).inspect_err(|_| {
            // The first error is the one to tell; what could not be taken back shows in what is left.
            let _ = self.down(site, request);
        })?;
        Ok(Reply::default())
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        wiring::down(site, &request.topology)?;
        match self.changed().remove(&key(site)?) {
            Some(settings) => settings.put_back(&site.host),
            None => Ok(()),
        }
    }
}

impl Native {
    fn build(&self, site: &Site, topology: &Topology) -> Result<()> {
        let mut settings = Settings::default();
        let set = settings.set(&site.host, topology);
        self.changed().insert(key(site)?, settings);
        set?;
        wiring::up(site, topology)
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, u64), Settings>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(site: &Site) -> Result<(u64, u64)> {
    site.host.identity().map_err(|error| Error::kernel("identifying the namespace", site.host.name(), error))
}
