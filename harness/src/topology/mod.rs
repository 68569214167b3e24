//! Topologies: plain data that says what a lab looks like.
//!
//! The same types are read from `fixtures/topologies/*.toml` and written into a driver's request, so that no
//! implementation is told anything else than another.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mac::Mac;

mod builder;
mod check;
mod diagram;
mod fault;
mod shipped;
mod sized;
mod toml;

pub use self::{
    builder::Builder,
    fault::Invalid,
    shipped::{nearest, shipped},
};

/// What is to be built: bridges, nodes, the host's part, NAT, DNS.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Topology {
    /// Its name: `gateway-one-subnet`.
    #[serde(rename = "topology")]
    pub name: String,
    /// One sentence that says what it is.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub summary: String,
    /// The bridges in `host`.
    pub bridges: Vec<Bridge>,
    /// The nodes, each a namespace.
    pub nodes: Vec<Node>,
    /// The host's own part.
    pub host: Host,
    /// Network address translation.
    pub nat: Nat,
    /// Name resolution.
    pub dns: Dns,
}

/// A bridge in `host`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bridge {
    /// `br0`
    pub name: String,
    /// Its addresses, with their prefix lengths.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// Its MTU in bytes; null: the kernel's default.
    pub mtu: Option<u32>,
    /// Its nodes reach their gateway and what lies beyond it, not each other.
    pub isolate_ports: bool,
    /// Traffic to and from other bridges does not pass.
    pub isolated: bool,
    /// There is no way out.
    pub internal: bool,
    /// Frames may leave by the port that they came in by.
    pub hairpin: bool,
    /// VLAN filtering (802.1Q) is on.
    pub vlan_filtering: bool,
    /// A node sends from its own MAC and addresses only.
    pub anti_spoof: bool,
}

/// A node: a namespace with interfaces and routes.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// `netns1`
    pub name: String,
    /// Its interfaces, in their order.
    pub interfaces: Vec<Interface>,
    /// Its routes besides the connected ones.
    pub routes: Vec<Route>,
}

/// A veth end inside a node.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Interface {
    /// Its name inside the node: `veth1-1`.
    pub name: String,
    /// The other end's name in `host`: `veth1-0`; null with `peer`.
    pub port: Option<String>,
    /// What the port is attached to; null: nothing.
    pub bridge: Option<String>,
    /// The other end, where it is in another node.
    pub peer: Option<Peer>,
    /// The node's MAC address; null: the implementation's choice.
    pub mac: Option<Mac>,
    /// The node's MTU in bytes; null: the kernel's default.
    pub mtu: Option<u32>,
    /// The node's VLAN; null: none.
    pub vlan: Option<u16>,
    /// The node's addresses, with their prefix lengths.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// Addresses on the end in `host`.
    #[schemars(with = "Vec<String>")]
    pub port_addresses: Vec<IpNet>,
}

/// The other end of a veth between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The other node.
    pub node: String,
    /// The interface there.
    pub interface: String,
}

/// A route: `to` by `via`, `dev`, or both.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// A prefix, or `default`.
    pub to: Destination,
    /// The next hop; null: on-link.
    pub via: Option<IpAddr>,
    /// The device; null: the kernel's choice.
    pub dev: Option<String>,
}

/// Where a route leads: a prefix, or everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Destination {
    /// `default`, of the IP version of the next hop; IPv4 where there is none.
    #[default]
    Default,
    /// A prefix.
    Prefix(IpNet),
}

/// The host's part.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// The host forwards, for every IP version that the bridges have.
    pub forwarding: bool,
    /// Its routes besides the connected ones and the uplink's.
    pub routes: Vec<Route>,
    /// Its link to `outside`, made before `up`; null: none.
    pub uplink: Option<Uplink>,
}

/// The host's link to `outside`. The lab makes it; an implementation only uses it.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Uplink {
    /// Its name in `host`: `eth0`.
    pub interface: String,
    /// The host's addresses on it.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// The addresses of `outside` on it, which the host's default routes are via.
    pub gateways: Vec<IpAddr>,
    /// Its MTU in bytes; null: the kernel's default.
    pub mtu: Option<u32>,
}

/// Network address translation in `host`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nat {
    /// Source NAT.
    pub masquerade: Vec<Masquerade>,
    /// Destination NAT: published ports.
    pub publish: Vec<Publish>,
}

/// Packets from `source` that leave by `out` take its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Masquerade {
    /// The prefix.
    #[schemars(with = "String")]
    pub source: IpNet,
    /// The device.
    pub out: String,
}

/// A port of the host's that is passed on to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// `tcp` or `udp`
    pub protocol: Transport,
    /// The host's address that it is published on; null: all.
    #[serde(default)]
    pub host_address: Option<IpAddr>,
    /// The host's port.
    pub port: u16,
    /// The node.
    pub node: String,
    /// The node's port.
    pub node_port: u16,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// The servers that the host uses.
    pub upstream: Vec<IpAddr>,
    /// Nodes find each other by name.
    pub names: bool,
}

/// Fails where no node can have this name.
pub(crate) fn check_node_name(name: &str) -> crate::Result<()> {
    check::node_name(name).map_err(crate::Error::Usage)
}

impl Topology {
    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The bridge of this name.
    #[must_use]
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.iter().find(|bridge| bridge.name == name)
    }
}

impl Serialize for Destination {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str("default"),
            Self::Prefix(prefix) => serializer.collect_str(prefix),
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Destination {
    type Err = String;

    /// `default`, or a prefix with its length.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            prefix => {
                prefix.parse().map(Self::Prefix).map_err(|_| format!("`{text}` is neither a prefix nor `default`"))
            }
        }
    }
}

impl JsonSchema for Destination {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A prefix, or `default`." })
    }
}

/// As `ip route` prints it: `10.20.30.0/24 dev br0`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Prefix(prefix) => prefix.fmt(f),
        }
    }
}
