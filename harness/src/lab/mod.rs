//! Labs: namespaces that live and die together, and the topology that stands in them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Error, Namespace, Result, Topology,
    implement::{Native, Shared, Site},
    protocol::{BridgeReply, Reply, Request},
    topology,
    world::{Command, World},
};

mod node;
mod parked;
mod prepare;
mod readback;

pub use self::node::Node;

/// A fresh world of network namespaces: `host`, the nodes, and `outside` where the topology has an uplink.
///
/// Nothing outside can see it, and it is gone when this is dropped, or when the process ends however it ends.
///
/// In one that [`Builder::prepare`] prepares, a program of yours builds.
///
/// ```no_run
/// let lab = netproof::Lab::of("pair")?;
/// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
/// netproof::expect!(netns1.ping(netns2), Reply { ttl: 64, .. });
/// # Ok::<(), netproof::Error>(())
/// ```
#[must_use = "a lab is gone as soon as it is dropped"]
pub struct Lab {
    /// Who changes what stands; none where a program of the user's does.
    implementation: Option<Shared>,
    asked: Topology,
    stands: Topology,
    is_up: bool,
    site: Site,
    host: Node,
    outside: Option<Node>,
    nodes: Vec<Node>,
    /// Further namespaces that a test asked for.
    others: Vec<Node>,
}

/// A lab to be: which topology, and who builds it.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    topology: Topology,
    implementation: Option<Shared>,
    shown: Vec<PathBuf>,
}

impl Builder {
    /// Who builds it, and changes what stands; without this, the built-in implementation does, and in a lab that is only
    /// prepared nobody: your program.
    pub fn implementation(mut self, implementation: Shared) -> Self {
        self.implementation = Some(implementation);
        self
    }

    /// A folder, or file, that its programs see at its own path, read-only, though it lies where a lab has folders of its
    /// own: below /tmp, /run, /dev and, unless root may overlay it, /var. All else of the machine they see without this.
    pub fn show(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.shown.push(std::path::absolute(&path).unwrap_or(path));
        self
    }

    /// The lab with its namespaces, its uplink and its sysctls, and nothing built in it: where a program of yours is to
    /// build it. Nodes have the addresses that were asked for, until [`Lab::read_back`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use netproof::{Lab, Topology, expect, protocol::Reply};
    /// let mut lab = Lab::builder(Topology::shipped("pair")?).prepare()?;
    /// // It runs in `host`, as root of the lab, and finds the nodes as /run/netns/netns1 and /run/netns/netns2.
    /// # let mine = "/src/target/debug/mine";
    /// lab.command(mine)?.args(["create", "br0"]).read(Duration::from_secs(10))?;   // mine: env!("CARGO_BIN_EXE_mine")
    /// lab.read_back(&Reply::default())?;
    /// expect!(lab.host().link("br0"), Some(Link { kind: "bridge", up: true, .. }));
    /// expect!(lab.node("netns1").ping(lab.node("netns2")), Reply { .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn prepare(self) -> Result<Lab> {
        self.topology.check()?;
        prepare::lab(self.topology, self.implementation, self.shown)
    }

    /// The lab with its topology built and read back.
    pub fn up(self) -> Result<Lab> {
        let mut lab = self.prepare()?;
        lab.up()?;
        Ok(lab)
    }
}

impl Lab {
    /// A lab in which the built-in implementation has built the shipped topology of this name.
    pub fn of(topology: &str) -> Result<Self> {
        Self::builder(Topology::shipped(topology)?).up()
    }

    /// A lab of any topology, built by any implementation.
    pub fn builder(topology: Topology) -> Builder {
        Builder { topology, implementation: None, shown: Vec::new() }
    }

    /// The namespace with the bridges; never the machine's own.
    #[must_use]
    pub fn host(&self) -> &Node {
        &self.host
    }

    /// The rest of the network, behind the uplink.
    ///
    /// # Panics
    /// Where the topology has no uplink.
    #[must_use]
    #[track_caller]
    pub fn outside(&self) -> &Node {
        let why = || format!("topology `{}` has no uplink, and so no outside", self.asked.name);
        self.outside.as_ref().unwrap_or_else(|| panic!("{}", why()))
    }

    /// Whether the topology has an uplink.
    #[must_use]
    pub fn has_outside(&self) -> bool {
        self.outside.is_some()
    }

    /// The node of this name, or the namespace that [`Lab::add_namespace`] made.
    ///
    /// # Panics
    /// Where there is none; the message names those that there are.
    #[must_use]
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        let found = self.nodes.iter().chain(&self.others).find(|node| node.name() == name);
        found.unwrap_or_else(|| {
            let known: Vec<&str> = self.nodes.iter().chain(&self.others).map(|node| node.name()).collect();
            panic!("topology `{}` has no node `{name}`; it has {}", self.asked.name, known.join(", "))
        })
    }

    /// The topology's nodes, in its order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every namespace of the lab: host, nodes, further ones, outside.
    #[must_use]
    pub fn all(&self) -> Vec<&Node> {
        [&self.host].into_iter().chain(&self.nodes).chain(&self.others).chain(&self.outside).collect()
    }

    /// The topology as it was asked for.
    #[must_use]
    pub fn asked(&self) -> &Topology {
        &self.asked
    }

    /// The topology as it stands: with the names and addresses that the implementation chose, read back from the kernel.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.stands
    }

    /// Where implementations build.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Builds the topology, reads it back, and makes neighbour states quick to observe.
    pub fn up(&mut self) -> Result<()> {
        let implementation = self.implementation.clone().unwrap_or_else(|| Arc::new(Native::default()));
        let reply = implementation.up(&self.site, &Request::new(&self.asked))?;
        self.implementation = Some(implementation);
        self.read_back(&reply)?;
        self.is_up = true;
        Ok(())
    }

    /// Goes on with what a program of yours has built in a prepared lab: reads it back, and makes neighbour states quick to
    /// observe. `reply` says what it called its interfaces and which addresses it chose, where that is not what was asked
    /// for; [`Reply::default`] says nothing.
    ///
    /// It fails where the nodes cannot be found: bridges, interfaces and their ports, and addresses that were asked for have
    /// to be there. Whether they are as they should be, and all else (routes, NAT), is yours to claim.
    pub fn read_back(&mut self, reply: &Reply) -> Result<()> {
        let mut part = self.asked.clone();
        part.nodes.retain(|node| self.has(&node.name));
        self.take(reply, &part)
    }

    /// Has the implementation take down what it built. Nodes that were in namespaces of its own are the lab's again.
    ///
    /// In a prepared lab for which none was named this is an error, as are `add`, `remove` and `reload`: what your program
    /// has built it takes down itself.
    pub fn down(&mut self) -> Result<()> {
        let implementation = self.implementation()?;
        self.is_up = false;
        self.let_go(|_| true)?;
        implementation.down(&self.site, &Request::new(&self.asked))
    }

    fn implementation(&self) -> Result<Shared> {
        self.implementation.clone().ok_or_else(|| {
            let remedy = "run your program (`Lab::command`), or name who builds (`lab::Builder::implementation`)";
            Error::Usage(format!("nobody was named to change what stands in this prepared lab: {remedy}"))
        })
    }

    /// Has nodes be in the lab's namespaces again: held by anybody, one of the implementation's own would outlive its
    /// container, and so would the devices in it.
    fn let_go(&mut self, is_going: impl Fn(&Node) -> bool) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| is_going(node)) {
            *node = Node::new(self.site.node(node.name())?.clone(), node.interfaces());
        }
        Ok(())
    }

    /// Whether the topology stands: `up` succeeded, and `down` was not called since.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Has a node, and ports published for it, attached to what stands. With them the topology must still be one. One of the
    /// name of a node that was lost takes its place. One that is joined to another node by a veth is none to add: nobody
    /// would say what the other's end is.
    ///
    /// ```no_run
    /// use netproof::{Lab, Topology, expect};
    /// let one = Topology::builder("mine").bridge("br0", &["10.20.0.1/24"]).node("netns1", "br0", &["10.20.0.11/24"]);
    /// let both = one.clone().node("late", "br0", &["10.20.0.12/24"]).gateway("late", "10.20.0.1").build()?;
    /// let mut lab = Lab::builder(one.build()?).up()?;
    /// lab.add(both.nodes[1].clone(), Vec::new())?;
    /// expect!(lab.node("late").ping(lab.node("netns1")), Reply { .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn add(&mut self, node: topology::Node, publish: Vec<topology::Publish>) -> Result<()> {
        let implementation = self.implementation()?;
        let mut whole = self.asked.clone();
        if let Some(peer) = node.interfaces.iter().find_map(|end| end.peer.as_ref()) {
            let (name, other) = (&node.name, &peer.node);
            return Err(Error::Usage(format!("{name} is joined to {other} by a veth, and is not added alone")));
        }
        if self.others.iter().any(|other| other.name() == node.name) {
            return Err(Error::Usage(format!("the lab has a namespace `{}`, which is no node's", node.name)));
        }
        if !self.has(&node.name) {
            whole.nodes.retain(|lost| lost.name != node.name);
            whole.nat.publish.retain(|publish| publish.node != node.name);
        }
        whole.nodes.push(node.clone());
        whole.nat.publish.extend(publish.iter().cloned());
        whole.check()?;
        if self.site.node(&node.name).is_err() {
            self.site.add(prepare::node(&node.name)?)?;
        }
        let mut part = self.asked.clone();
        part.nodes = vec![node];
        part.nat.publish = publish;
        let mut reply = implementation.add(&self.site, &Request::new(&part))?;
        self.recall(&mut reply);
        self.asked = whole;
        self.take(&reply, &part)
    }

    /// Whether a node is there, and was not lost.
    fn has(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.name() == name)
    }

    /// A reply to `add` names just what was added: of the bridges is true what the reply to `up` said.
    fn recall(&self, reply: &mut Reply) {
        for (asked, stands) in self.asked.bridges.iter().zip(&self.stands.bridges) {
            if reply.bridges.iter().all(|said| said.name != asked.name) {
                let (is, addresses) = (Some(stands.name.clone()), Some(stands.addresses.clone()));
                reply.bridges.push(BridgeReply { name: asked.name.clone(), is, addresses });
            }
        }
    }

    /// Has a node, and the ports published for it, taken out; its namespace stays. Where that fails, the lab has it still.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let implementation = self.implementation()?;
        if self.asked.node(name).is_none() {
            let known: Vec<&str> = self.asked.nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(Error::Usage(format!("the lab has no node `{name}` to remove; it has {}", known.join(", "))));
        }
        self.let_go(|node| node.name() == name)?;
        let mut part = self.asked.clone();
        part.nodes.retain(|node| node.name == name);
        part.nat.publish.retain(|publish| publish.node == name);
        implementation.remove(&self.site, &Request::new(&part))?;
        for topology in [&mut self.asked, &mut self.stands] {
            topology.nodes.retain(|node| node.name != name);
            topology.nat.publish.retain(|publish| publish.node != name);
        }
        self.nodes.retain(|node| node.name() != name);
        Ok(())
    }

    /// Has the implementation put its rules back.
    pub fn reload(&mut self) -> Result<()> {
        self.implementation()?.reload(&self.site, &Request::new(&self.asked))
    }

    /// A program to be started in the lab's world: in `host`, unless it says otherwise.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command<'_>> {
        Ok(self.world()?.command(program))
    }

    /// The lab's programs and files: what runs there ([`World::processes`]), what a program will find or has left
    /// ([`World::write`], [`World::read`]).
    pub fn world(&self) -> Result<&World> {
        self.site.world()
    }

    /// A further namespace, prepared as a node's is, that no implementation knows of; the lab's programs find it as
    /// `/run/netns/NAME`. Its name is none of the lab's yet, and one that a node could have.
    pub fn add_namespace(&mut self, name: &str) -> Result<Node> {
        topology::check_node_name(name)?;
        if self.all().iter().any(|node| node.name() == name) || self.site.node(name).is_ok() {
            return Err(Error::Usage(format!("the lab has a namespace `{name}` already")));
        }
        let namespace = prepare::node(name)?;
        self.site.know(namespace.clone())?;
        let node = Node::bare(namespace);
        self.others.push(node.clone());
        Ok(node)
    }

    /// Lets go of a node's namespace, or a further one, as if its container had died: nothing of it is left once this
    /// returns. It waits for the ports that were read back to go, and for the ends in other nodes that its own were joined
    /// to, each at most 30 s times the [`time_scale`](crate::time_scale), in vain where a clone of the [`Node`], a tap or a
    /// server of it is still held.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let mut lab = Lab::of("pair")?;
    /// let port = lab.node("netns1").port().to_owned();
    /// lab.lose("netns1")?;
    /// expect!(lab.host().link(&port), None);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn lose(&mut self, name: &str) -> Result<()> {
        let namespace = match self.nodes.iter().chain(&self.others).find(|node| node.name() == name) {
            Some(node) => Namespace::clone(node),
            // One that was removed is no node any more, and its namespace stays until now.
            None => self.site.node(name)?.clone(),
        };
        let ends: Vec<_> = self.stands.node(name).iter().flat_map(|node| &node.interfaces).cloned().collect();
        for nodes in [&mut self.nodes, &mut self.others] {
            nodes.retain(|node| node.name() != name);
        }
        self.stands.nodes.retain(|node| node.name != name);
        self.site.lose(name, namespace)?;
        prepare::wait_gone(&self.host, &ends.iter().filter_map(|end| end.port.clone()).collect())?;
        for peer in ends.iter().filter_map(|end| end.peer.as_ref()) {
            if let Some(there) = self.nodes.iter().find(|node| node.name() == peer.node) {
                prepare::wait_gone(there, &BTreeSet::from([peer.interface.clone()]))?;
            }
        }
        Ok(())
    }

    /// Takes a reply: reads back what it says and what was asked of `part`, and goes on with it.
    fn take(&mut self, reply: &Reply, part: &Topology) -> Result<()> {
        let read = readback::read(&self.site, part, reply)?;
        for node in read.topology.nodes {
            self.nodes.retain(|known| known.name() != node.name);
            self.stands.nodes.retain(|known| known.name != node.name);
            let namespace = read.namespaces.iter().find(|namespace| namespace.name() == node.name);
            let namespace = namespace.map_or_else(|| self.site.node(&node.name).cloned(), |found| Ok(found.clone()))?;
            self.nodes.push(Node::new(namespace, &node.interfaces));
            self.stands.nodes.push(node);
        }
        self.stands.bridges = read.topology.bridges;
        self.stands.nat = self.asked.nat.clone();
        self.host = self.host.as_host(&self.stands);
        self.quicken()
    }

    /// Shortens the wait between two ARP or ND requests on every device, so that FAILED comes after 150 ms instead of 3 s.
    fn quicken(&self) -> Result<()> {
        for node in [&self.host].into_iter().chain(&self.nodes).chain(&self.outside) {
            node.quicken()?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let all = self.all();
        parked::park(&all.into_iter().map(|node| &**node).collect::<Vec<&Namespace>>());
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lab({})", self.asked.name)
    }
}
