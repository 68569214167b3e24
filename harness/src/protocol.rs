//! The driver protocol, version 1: what a driver is told, and what it answers. The page is `docs/driver-protocol.md`.

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, schema_for, transform::transform_subschemas};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Mac, Topology};

/// The highest version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// What an implementation is asked to build: a topology, and where its namespaces are.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The topology.
    pub topology: Topology,
}

impl Request {
    /// The request for a topology.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self { topology: topology.clone() }
    }

    /// The JSON object that a driver reads: every key is present.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "protocol": VERSION });
        let Value::Object(topology) = json!(self.topology) else { unreachable!("a struct is an object") };
        for (key, mut value) in topology {
            match key.as_str() {
                "nodes" => value.as_array_mut().into_iter().flatten().for_each(|node| {
                    let name = node["name"].as_str().unwrap_or_default().to_owned();
                    add_netns(node, &name);
                }),
                "host" => add_netns(&mut value, "host"),
                _ => {}
            }
            object[&key] = value;
        }
        object
    }

    /// The JSON schema of the request: every key is required, and keys of later versions are allowed.
    #[must_use]
    pub fn schema() -> Schema {
        let mut schema = schema_for!(RequestForm);
        for of in ["Node", "Host"] {
            let said = json!({ "description": "The path of its network namespace.", "type": "string" });
            schema.pointer_mut(&format!("/$defs/{of}/properties")).expect("both are defined")["netns"] = said;
        }
        every_key_is_required(&mut schema);
        schema
    }
}

fn add_netns(object: &mut Value, name: &str) {
    object["netns"] = json!(format!("/run/netns/{name}"));
}

/// A file may leave keys out and must not have unknown ones; a request has every key, and may have more.
fn every_key_is_required(schema: &mut Schema) {
    transform_subschemas(&mut every_key_is_required, schema);
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("default");
    object.remove("additionalProperties");
    if let Some(Value::Object(properties)) = object.get("properties") {
        let keys: Vec<&String> = properties.keys().collect();
        let required = json!(keys);
        object.insert("required".into(), required);
    }
}

/// What the suite asks of an implementation.
#[derive(JsonSchema)]
#[schemars(title = "netproof driver request, protocol 1")]
#[allow(dead_code, reason = "only its schema is used")]
struct RequestForm {
    /// The version of the protocol.
    protocol: u32,
    #[schemars(flatten)]
    topology: Topology,
}

/// What an implementation says it did otherwise than asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "netproof driver reply, protocol 1")]
pub struct Reply {
    /// Bridges that are not as asked.
    pub bridges: Vec<BridgeReply>,
    /// Nodes that are not as asked.
    pub nodes: Vec<NodeReply>,
}

/// A bridge that is not as asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BridgeReply {
    /// Its name in the request.
    pub name: String,
    /// Its name in the kernel.
    #[serde(default)]
    pub is: Option<String>,
    /// Its addresses.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Vec<IpNet>>,
}

/// A node that is not as asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReply {
    /// Its name in the request.
    pub name: String,
    /// The path of its network namespace, in the driver's own mount and PID namespace.
    #[serde(default)]
    pub netns: Option<String>,
    /// The DNS servers that it asks.
    #[serde(default)]
    pub dns: Option<Vec<std::net::IpAddr>>,
    /// Interfaces that are not as asked.
    #[serde(default)]
    pub interfaces: Vec<InterfaceReply>,
}

/// An interface that is not as asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceReply {
    /// Its name in the request.
    pub name: String,
    /// Its name in the kernel.
    #[serde(default)]
    pub is: Option<String>,
    /// Its addresses.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Vec<IpNet>>,
    /// Its MAC address.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
}

/// What an implementation says it is: the answer to `describe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "netproof driver description, protocol 1")]
pub struct Description {
    /// The highest version of the protocol that it knows, up to the one asked.
    pub protocol: u32,
    /// Its name: `[a-z0-9][a-z0-9.-]{0,31}`.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The verbs that it knows.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// The topologies that it builds; `*`: any.
    #[serde(default)]
    pub topologies: Vec<String>,
    /// What the driver itself does because the implementation has no notion of it.
    #[serde(default)]
    pub supplies: Vec<String>,
    /// How to get it, where it is not installed.
    #[serde(default)]
    pub missing: Option<String>,
}

impl Description {
    /// Whether it claims to build this topology.
    #[must_use]
    pub fn claims(&self, topology: &str) -> bool {
        self.topologies.iter().any(|claimed| claimed == "*" || claimed == topology)
    }

    /// Whether it knows this verb.
    #[must_use]
    pub fn knows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request has every key of the protocol page, for every topology.
    #[test]
    fn every_key_is_present() {
        let publish = Request::new(&Topology::shipped("publish").unwrap()).to_json();
        assert_eq!(publish["protocol"], 1);
        assert_eq!(publish["topology"], "publish");
        let bridge = json!({ "name": "br0", "addresses": ["10.20.0.1/16"], "mtu": null, "isolate_ports": false, "isolated": false,
            "internal": false, "hairpin": false, "vlan_filtering": false, "anti_spoof": false });
        assert_eq!(publish["bridges"], json!([bridge]));
        let node = json!({ "name": "netns1", "netns": "/run/netns/netns1",
            "interfaces": [{ "name": "veth1-1", "port": "veth1-0", "bridge": "br0", "peer": null, "mac": null, "mtu": null, "vlan": null,
                "addresses": ["10.20.30.41/16"], "port_addresses": [] }],
            "routes": [{ "to": "default", "via": "10.20.0.1", "dev": null }] });
        assert_eq!(publish["nodes"][0], node);
        let host = json!({ "netns": "/run/netns/host", "forwarding": true, "routes": [],
            "uplink": { "interface": "eth0", "addresses": ["192.0.2.2/24"], "gateways": ["192.0.2.1"], "mtu": null } });
        assert_eq!(publish["host"], host);
        assert_eq!(publish["nat"]["masquerade"], json!([{ "source": "10.20.0.0/16", "out": "eth0" }]));
        let port = json!({ "protocol": "tcp", "host_address": null, "port": 8080, "node": "netns1", "node_port": 80 });
        assert_eq!(publish["nat"]["publish"][0], port);
        assert_eq!(publish["dns"], json!({ "upstream": [], "names": false }));
    }

    /// The schema has the keys that a request has, each of them required.
    #[test]
    fn the_schema_is_of_the_request() {
        let schema = serde_json::to_value(Request::schema()).unwrap();
        let request = Request::new(&Topology::shipped("publish").unwrap()).to_json();
        let keys =
            |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        for (of, object) in [("", &request), ("/$defs/Node", &request["nodes"][0]), ("/$defs/Host", &request["host"])] {
            assert_eq!(keys(schema.pointer(&format!("{of}/properties")).unwrap()), keys(object));
            assert_eq!(
                schema.pointer(&format!("{of}/required")).unwrap().as_array().unwrap().len(),
                keys(object).len()
            );
        }
    }

    /// The schemas that are checked in are those of the types. `UPDATE=1` writes them anew.
    #[test]
    fn the_schemas_are_fresh() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/schema");
        for (name, schema) in
            [("request", Request::schema()), ("reply", schema_for!(Reply)), ("description", schema_for!(Description))]
        {
            let path = folder.join(format!("{name}.json"));
            let fresh = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &fresh).unwrap();
            }
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(stored == fresh, "{} is stale: UPDATE=1 cargo test -p netproof the_schemas", path.display());
        }
    }
}
