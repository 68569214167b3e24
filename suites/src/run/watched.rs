//! An implementation, and what it is doing: a case that does not end is the fault of whoever was at work.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use netproof::{
    Error, Result, Topology,
    implement::{Implementation, Shared, Site},
    protocol::{Description, Reply, Request},
};

/// An implementation that tells what it is doing, and is held to what it claimed.
pub(super) struct Watched {
    inner: Shared,
    description: Description,
    at_work: Mutex<Option<&'static str>>,
}

impl Watched {
    pub(super) fn new(inner: &Shared, description: &Description) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), description: description.clone(), at_work: Mutex::new(None) })
    }

    /// The verb that it is at.
    pub(super) fn at_work(&self) -> Option<&'static str> {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn during<T>(&self, verb: &'static str, call: impl FnOnce(&dyn Implementation) -> Result<T>) -> Result<T> {
        let set = |verb| *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) = verb;
        set(Some(verb));
        let answer = call(&*self.inner);
        set(None);
        answer
    }

    /// A verb that it need not have; who does not claim it is not asked.
    fn optional<T>(&self, verb: &'static str, call: impl FnOnce(&dyn Implementation) -> Result<T>) -> Result<T> {
        if !self.description.knows(verb) {
            return Err(Error::Unsupported(format!("{} has no verb `{verb}`", self.description.name)));
        }
        self.during(verb, call)
    }

    /// Declining a shipped topology that it claims to build is a failure.
    fn held<T>(&self, verb: &str, topology: &Topology, answer: Result<T>) -> Result<T> {
        let claimed = || {
            self.description.claims(&topology.name)
                && Topology::shipped(&topology.name).is_ok_and(|shipped| shipped == *topology)
        };
        match answer {
            Err(Error::Unsupported(why)) if claimed() => Err(Error::Implementation {
                implementation: self.description.name.clone(),
                verb: verb.into(),
                message: format!("says that it does not support `{}`, which `describe` claims", topology.name),
                evidence: why,
            }),
            other => other,
        }
    }
}

impl Implementation for Watched {
    fn folders(&self) -> Vec<PathBuf> {
        self.inner.folders()
    }

    fn describe(&self, site: &Site) -> Result<Description> {
        self.during("describe", |inner| inner.describe(site))
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        let answer = self.during("up", |inner| inner.up(site, request));
        self.held("up", &request.topology, answer)
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        let answer = self.during("down", |inner| inner.down(site, request));
        self.held("down", &request.topology, answer)
    }

    fn add(&self, site: &Site, request: &Request) -> Result<Reply> {
        self.optional("add", |inner| inner.add(site, request))
    }

    fn remove(&self, site: &Site, request: &Request) -> Result<()> {
        self.optional("remove", |inner| inner.remove(site, request))
    }

    fn reload(&self, site: &Site, request: &Request) -> Result<()> {
        let answer = self.optional("reload", |inner| inner.reload(site, request));
        // Who has no such verb was not asked.
        if self.description.knows("reload") { self.held("reload", &request.topology, answer) } else { answer }
    }

    fn other(&self, verb: &str, site: &Site, request: &Request) -> Result<()> {
        self.during("a verb that there is not", |inner| inner.other(verb, site, request))
    }
}
