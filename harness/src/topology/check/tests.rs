//! One fault, one error, one line.

use rstest::rstest;

use crate::Topology;

const BASE: &str = r#"topology = "mine"
[[bridges]]
name = "br0"
addresses = ["10.20.0.1/16"]
[[bridges]]
name = "br1"
[[nodes]]
name = "netns1"
interfaces = [{ name = "veth1-1", port = "veth1-0", bridge = "br0", addresses = ["10.20.30.41/16"] }]
routes = [{ to = "default", via = "10.20.0.1" }]
[[nodes]]
name = "netns2"
interfaces = [{ name = "veth2-1", port = "veth2-0", bridge = "br0", addresses = ["10.20.20.41/16"] }]
[host.uplink]
interface = "eth0"
addresses = ["192.0.2.2/24"]
gateways = ["192.0.2.1"]
[[nat.masquerade]]
source = "10.20.0.0/16"
out = "eth0"
[[nat.publish]]
protocol = "tcp"
port = 8080
node = "netns1"
node_port = 80
"#;

/// One fault in a good file gives one error, at its line.
#[rstest]
#[case::unknown_node(
    "node = \"netns1\"",
    "node = \"netns9\"",
    "mine:24: port 8080 is published to `netns9`, which is no node"
)]
#[case::unknown_bridge(
    "\"veth2-0\", bridge = \"br0\"",
    "\"veth2-0\", bridge = \"br9\"",
    "mine:13: netns2's veth2-1 is attached to `br9`, which is no bridge"
)]
#[case::malformed_prefix("10.20.0.1/16", "10.20.0.1/33", "mine:4: \"10.20.0.1/33\": invalid IP address syntax")]
#[case::overlapping_prefix(
    "name = \"br1\"",
    "name = \"br1\"\naddresses = [\"10.20.9.1/24\"]",
    "mine:7: prefix 10.20.9.0/24 overlaps 10.20.0.0/16 of br0"
)]
#[case::gateway_off_link(
    "via = \"10.20.0.1\"",
    "via = \"10.30.0.1\"",
    "mine:10: gateway 10.30.0.1 is off-link: no address of netns1 has it in its prefix"
)]
#[case::long_name(
    "veth2-0",
    "veth2-0-is-longer",
    "mine:13: link name `veth2-0-is-longer` has 17 bytes, and the kernel takes 15"
)]
#[case::port_on_two_bridges(
    "\"veth2-0\", bridge = \"br0\"",
    "\"veth1-0\", bridge = \"br1\"",
    "mine:13: port veth1-0 of netns2's veth2-1 is already netns1's veth1-1's: a port is on one bridge, once"
)]
#[case::duplicate_address(
    "10.20.20.41/16",
    "10.20.30.41/16",
    "mine:13: address 10.20.30.41 of netns2's veth2-1 is already netns1's veth1-1's"
)]
#[case::duplicate_node("name = \"netns2\"", "name = \"netns1\"", "mine:12: two nodes are called netns1")]
#[case::group_mac(
    "\"veth2-1\",",
    "\"veth2-1\", mac = \"01:00:00:00:00:01\",",
    "mine:13: 01:00:00:00:00:01 is a group's MAC address"
)]
#[case::malformed_mac(
    "\"veth2-1\",",
    "\"veth2-1\", mac = \"02:00\",",
    "mine:13: `02:00` is no MAC address: six pairs of hexadecimal digits with colons between"
)]
#[case::small_mtu("\"veth2-1\",", "\"veth2-1\", mtu = 60,", "mine:13: 60 is no MTU here: 68 to 65535 bytes")]
#[case::small_mtu_for_v6(
    "\"10.20.20.41/16\"]",
    "\"10.20.20.41/16\", \"fd00::2/64\"], mtu = 1279",
    "mine:13: 1279 is no MTU here: 1280 to 65535 bytes"
)]
#[case::large_mtu("\"veth2-1\",", "\"veth2-1\", mtu = 65536,", "mine:13: 65536 is no MTU here: 68 to 65535 bytes")]
#[case::vlan_without_filtering(
    "\"veth2-1\",",
    "\"veth2-1\", vlan = 10,",
    "mine:13: netns2's veth2-1 is in a VLAN, but its bridge has no vlan_filtering"
)]
#[case::unknown_key(
    "port = 8080",
    "port = 8080\nprot = 1",
    "mine:24: unknown field `prot`, expected one of `protocol`, `host_address`, `port`, `node`, `node_port`"
)]
#[case::unknown_device(
    "out = \"eth0\"",
    "out = \"eth9\"",
    "mine:20: masquerade out of `eth9`, which is no bridge, port or uplink"
)]
#[case::no_prefix(
    "source = \"10.20.0.0/16\"",
    "source = \"10.20.0.1/16\"",
    "mine:19: masquerade source 10.20.0.1/16: not a prefix; 10.20.0.0/16 is"
)]
#[case::route_to_nowhere(
    "via = \"10.20.0.1\"",
    "dev = \"eth9\"",
    "mine:10: route default dev eth9 of netns1: `eth9` is no interface of it"
)]
#[case::broadcast_address(
    "10.20.20.41/16",
    "10.20.255.255/16",
    "mine:13: 10.20.255.255/16 is the prefix's own or its broadcast address, not a host's"
)]
#[case::no_peer(
    "port = \"veth2-0\", bridge = \"br0\"",
    "peer = { node = \"netns1\", interface = \"veth1-1\" }",
    "mine:13: netns2's veth2-1 names a peer that does not name it back"
)]
#[case::no_other_end(
    "port = \"veth2-0\", bridge = \"br0\",",
    "",
    "mine:13: netns2's veth2-1 has neither a port nor a peer"
)]
#[case::reserved_name(
    "name = \"netns2\"",
    "name = \"outside\"",
    "mine:12: `outside` is no name for a node: [a-z0-9][a-z0-9.-]{0,31}, not `host` or `outside`"
)]
fn a_fault_has_a_line(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    assert!(BASE.contains(from));
    let error = Topology::parse("mine", &BASE.replacen(from, to, 1)).unwrap_err().to_string();
    assert_eq!(error.lines().next().unwrap(), expected);
}

/// What is published twice, or a MAC address used twice, is an error.
#[test]
fn what_is_there_twice_is_an_error() {
    let twice = format!("{BASE}[[nat.publish]]\nprotocol = \"tcp\"\nport = 8080\nnode = \"netns2\"\nnode_port = 80\n");
    let error = Topology::parse("mine", &twice).unwrap_err().to_string();
    assert_eq!(error, "mine:28: port 8080 is published twice: to netns1 and to netns2");
    let mac = "mac = \"02:00:00:00:00:01\",";
    let twice = BASE.replacen("\"veth1-1\",", &format!("\"veth1-1\", {mac}"), 1).replacen(
        "\"veth2-1\",",
        &format!("\"veth2-1\", {mac}"),
        1,
    );
    let error = Topology::parse("mine", &twice).unwrap_err().to_string();
    assert_eq!(error, "mine:13: MAC 02:00:00:00:00:01 of netns2's veth2-1 is already netns1's veth1-1's");
}

/// The base itself is good.
#[test]
fn a_good_file_is_taken() {
    Topology::parse("mine", BASE).unwrap();
}
