//! Who builds a topology: the built-in implementation, or anybody's program.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use crate::{
    Error, Namespace, Result, World,
    protocol::{Description, Reply, Request},
};

pub mod driver;
pub mod native;

pub use self::{
    driver::Driver,
    native::{Native, Step},
};

/// Builds topologies, and takes them down again. Its methods are the verbs of the driver protocol.
///
/// What it says is not believed: the lab reads everything back from the kernel.
pub trait Implementation: Send + Sync {
    /// Folders that it needs to see at their own paths: a driver's own.
    fn folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

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

    /// A verb that the protocol does not have; the right answer is [`Error::Unsupported`].
    fn other(&self, verb: &str, _site: &Site, _request: &Request) -> Result<()> {
        Err(Error::Unsupported(format!("this implementation has no verb `{verb}`")))
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
    /// Further namespaces, of which programs know.
    others: Vec<Namespace>,
    /// The world of its programs, made for the first that is started.
    world: Arc<OnceLock<World>>,
    /// Folders that its programs see at their own paths, read-only.
    folders: Vec<PathBuf>,
}

impl Site {
    /// The namespace of this node.
    pub fn node(&self, name: &str) -> Result<&Namespace> {
        let known = self.nodes.iter().find(|node| node.name() == name);
        known.ok_or_else(|| Error::Usage(format!("the lab has no namespace for node `{name}`")))
    }

    /// A site of these namespaces, in which no program runs yet.
    pub(crate) fn new(
        host: Namespace,
        nodes: Vec<Namespace>,
        outside: Option<Namespace>,
        folders: Vec<PathBuf>,
    ) -> Self {
        Self { host, nodes, outside, others: Vec::new(), world: Arc::default(), folders }
    }

    /// The world of the site's programs: made at the first call, with every namespace known by its name.
    pub fn world(&self) -> Result<&World> {
        if let Some(world) = self.world.get() {
            return Ok(world);
        }
        let world = World::new(&self.host, &self.folders)?;
        for node in self.nodes.iter().chain(&self.others) {
            world.bind(node.name(), node)?;
        }
        Ok(self.world.get_or_init(|| world))
    }

    /// Makes a node's namespace that came later known to the programs, too.
    pub(crate) fn add(&mut self, node: Namespace) -> Result<()> {
        self.bind(&node)?;
        self.nodes.push(node);
        Ok(())
    }

    /// Makes a namespace known to the programs that is no node's.
    pub(crate) fn know(&mut self, other: Namespace) -> Result<()> {
        self.bind(&other)?;
        self.others.push(other);
        Ok(())
    }

    fn bind(&self, namespace: &Namespace) -> Result<()> {
        self.world.get().map_or(Ok(()), |world| world.bind(namespace.name(), namespace))
    }

    /// Lets go of a node's namespace, and kills what runs there: that may be all that holds it.
    pub(crate) fn lose(&mut self, name: &str, namespace: Namespace) -> Result<()> {
        for namespaces in [&mut self.nodes, &mut self.others] {
            namespaces.retain(|node| node.name() != name);
        }
        let Some(world) = self.world.get() else { return Ok(()) };
        world.kill_in(&namespace)?;
        world.unbind(name)
    }

    /// The network namespace at `path`, as the lab's own programs see it.
    pub fn open(&self, node: &str, path: &str) -> Result<Namespace> {
        self.world()?.open_netns(node, path)
    }
}
