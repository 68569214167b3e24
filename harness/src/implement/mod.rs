//! Who builds a topology: the built-in implementation, or anybody's program.

use std::sync::Arc;

use crate::{
    Error, Namespace, Result,
    protocol::{Description, Reply, Request},
};

pub mod driver;
pub mod native;

pub use self::native::Native;

/// Builds topologies, and takes them down again. Its methods are the verbs of the driver protocol.
///
/// What it says is not believed: the lab reads everything back from the kernel.
pub trait Implementation: Send + Sync {
    /// What it is, and what it claims to build. Changes nothing; called in an empty lab.
    fn describe(&self, site: &Site) -> Result<Description>;

    /// Builds the topology; returns when it is ready to carry traffic.
    fn up(&self, site: &Site, request: &Request) -> Result<Reply>;

    /// Removes what [`Implementation::up`] made or changed. Called twice, it succeeds twice.
    fn down(&self, site: &Site, request: &Request) -> Result<()>;

    /// Attaches the request's nodes to what stands.
    fn add(&self, _site: &Site, _request: &Request) -> Result<Reply> {
        Err(Error::Unsupported("this implementation has no verb `add`".into()))
    }

    /// Takes the request's nodes out; the others must not notice.
    fn remove(&self, _site: &Site, _request: &Request) -> Result<()> {
        Err(Error::Unsupported("this implementation has no verb `remove`".into()))
    }

    /// Puts the implementation's rules back after somebody flushed the firewall.
    fn reload(&self, _site: &Site, _request: &Request) -> Result<()> {
        Err(Error::Unsupported("this implementation has no verb `reload`".into()))
    }
}

/// An implementation that several labs share.
pub type Shared = Arc<dyn Implementation>;

/// Where an implementation builds: a lab's namespaces, by name.
#[derive(Clone, Debug)]
pub struct Site {
    /// The namespace `host`.
    pub host: Namespace,
    /// The nodes' namespaces, empty before `up`.
    pub nodes: Vec<Namespace>,
    /// The namespace `outside`, where there is one. No implementation builds there.
    pub outside: Option<Namespace>,
}

impl Site {
    /// The namespace of this node.
    pub fn node(&self, name: &str) -> Result<&Namespace> {
        let known = self.nodes.iter().find(|node| node.name() == name);
        known.ok_or_else(|| Error::Usage(format!("the lab has no namespace for node `{name}`")))
    }

    /// The network namespace at `path`, as the lab's own programs see it.
    pub fn open(&self, node: &str, path: &str) -> Result<Namespace> {
        let opened =
            std::fs::File::open(path).map_err(|error| Error::kernel(format!("opening {path}"), node, error))?;
        Ok(Namespace::from_fd(node, opened.into()))
    }
}
