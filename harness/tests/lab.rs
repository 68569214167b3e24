//! Labs: what stands in them, and that they are apart.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{os::unix::process::ExitStatusExt, time::Duration};

use netproof::{
    Deadline, Error, Inventory, Lab, Node, Topology,
    implement::{Implementation, Native},
    probe::Probe,
    protocol::{Reply, Request},
    topology::{Destination, Route},
};
use rstest::rstest;

fn answers(from: &Node, to: &Node) -> bool {
    from.ping(to).look(Deadline::after(Duration::from_secs(2))).unwrap().answered()
}

/// The built-in implementation builds every shipped topology, and it is read back as it was asked for.
///
///     outside --- eth0 [host: br0] --- [netns1] [netns2] ...
#[rstest]
fn every_topology_stands(
    #[values(
        "veth",
        "pair",
        "port-address",
        "host-route",
        "gateway",
        "gateway-two-subnets",
        "gateway-one-subnet",
        "gateway-v6",
        "internal",
        "internal-v6",
        "isolated-ports",
        "two-networks",
        "mtu",
        "direct",
        "mesh",
        "star"
    )]
    name: &str,
) {
    let lab = Lab::of(name).unwrap();
    assert_eq!(lab.nodes().len(), Topology::shipped(name).unwrap().nodes.len());
    for node in lab.nodes() {
        assert!(answers(node, node), "{} reaches itself", node.name());
    }
}

/// Peers on one bridge reach each other at the first ping, in both directions.
///
///     [netns1] --- [host: br0] --- [netns2]
#[rstest]
#[case("pair")]
#[case("gateway-one-subnet")]
#[case("direct")]
fn peers_talk(#[case] name: &str) {
    let lab = Lab::of(name).unwrap();
    let (one, two) = (lab.node("netns1"), lab.node("netns2"));
    assert!(answers(one, two) && answers(two, one));
}

/// `down` takes every link away again, twice over, and `up` after it works.
#[test]
fn down_and_up_again() {
    let mut lab = Lab::of("gateway-one-subnet").unwrap();
    assert_eq!(lab.host().sysctl("net.ipv4.ip_forward").unwrap(), "1");
    lab.down().unwrap();
    lab.down().unwrap();
    assert!(lab.host().index("br0").is_err());
    assert_eq!(lab.host().sysctl("net.ipv4.ip_forward").unwrap(), "0");
    lab.up().unwrap();
    assert!(answers(lab.node("netns1"), lab.node("netns2")));
}

/// Two labs of the same topology know nothing of each other.
#[test]
fn labs_are_apart() {
    let (one, other) = (Lab::of("pair").unwrap(), Lab::of("pair").unwrap());
    assert!(!one.host().is_same(other.host()).unwrap());
    drop(other);
    assert!(answers(one.node("netns1"), one.node("netns2")));
}

/// Where one bridge is isolated and the other is not, nothing passes either way.
///
///     netns1 --- br0 [host] br1 --- netns3
#[rstest]
#[case::the_first([true, false])]
#[case::the_second([false, true])]
fn one_isolated_bridge_is_apart_both_ways(#[case] isolated: [bool; 2]) {
    let mut topology = Topology::shipped("isolated").unwrap();
    topology.bridges.iter_mut().zip(isolated).for_each(|(bridge, isolated)| bridge.isolated = isolated);
    let lab = Lab::builder(topology).up().unwrap();
    let rules = lab.host().firewall().ruleset().unwrap().to_string();
    for [from, to] in [["br0", "br1"], ["br1", "br0"]] {
        let way = format!("iifname \"{from}\" oifname \"{to}\" drop");
        assert!(rules.contains(&way), "{way} in {rules}");
    }
}

/// A host's route by a node goes with `down`, which may be called twice; one that was there is another's, and stays.
#[test]
fn host_routes_come_and_go() {
    let mut topology = Topology::shipped("gateway-one-subnet").unwrap();
    let wanted = |to: &str, via: [u8; 4], dev: Option<&str>| Route {
        to: Destination::Prefix(to.parse().unwrap()),
        via: Some(via.into()),
        dev: dev.map(Into::into),
    };
    let (by_node, by_uplink) =
        (wanted("10.50.0.0/16", [10, 20, 30, 41], None), wanted("10.60.0.0/16", [192, 0, 2, 1], Some("eth0")));
    topology.host.routes = vec![by_node, by_uplink.clone()];
    let mut lab = Lab::builder(topology).up().unwrap();
    lab.down().unwrap();
    lab.down().unwrap();
    let clean = Inventory::of(lab.host()).unwrap();
    lab.up().unwrap();
    lab.down().unwrap();
    assert_eq!(clean.changes(&Inventory::of(lab.host()).unwrap()), []);

    lab.host().add_route(&by_uplink).unwrap();
    let with_anothers = Inventory::of(lab.host()).unwrap();
    lab.up().unwrap_err();
    assert_eq!(with_anothers.changes(&Inventory::of(lab.host()).unwrap()), []);
}

/// A device of the host's that forwarded although forwarding was off does so again after `down`.
#[rstest]
#[case::ipv4("gateway-one-subnet", "net.ipv4.ip_forward", "net.ipv4.conf.eth0.forwarding")]
#[case::ipv6("gateway-v6", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.eth0.forwarding")]
fn a_devices_own_forwarding_is_put_back(#[case] topology: &str, #[case] all: &str, #[case] own: &str) {
    let mut lab = Lab::builder(Topology::shipped(topology).unwrap()).prepare().unwrap();
    lab.host().set_sysctl(own, "1").unwrap();
    let before = Inventory::of(lab.host()).unwrap();
    lab.up().unwrap();
    assert_eq!(lab.host().sysctl(all).unwrap(), "1");
    lab.down().unwrap();
    assert_eq!(before.changes(&Inventory::of(lab.host()).unwrap()), []);
    assert_eq!(lab.host().sysctl(own).unwrap(), "1");
}

/// In a prepared lab the nodes are there before anything is built, and it goes on with what a program of the user's built.
///
///     [netns1] --- [host: br0] --- [netns2]
#[test]
fn what_a_users_program_built_is_gone_on_with() {
    let mut lab = Lab::builder(Topology::shipped("pair").unwrap()).prepare().unwrap();
    assert_eq!(lab.nodes().iter().map(|node| node.name()).collect::<Vec<_>>(), ["netns1", "netns2"]);
    let refused = lab.read_back(&Reply::default()).unwrap_err().to_string();
    assert!(refused.contains("br0"), "{refused}");
    let request = Request::new(lab.asked());
    Native::default().up(lab.site(), &request).unwrap();
    lab.read_back(&Reply::default()).unwrap();
    assert_eq!(lab.topology().bridges[0].name, "br0");
    assert!(answers(lab.node("netns1"), lab.node("netns2")));
    // Nobody else is said to have changed what it built.
    for refused in [lab.down(), lab.remove("netns1"), lab.reload()] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("prepared") && refused.contains("Lab::command"), "{refused}");
    }
    // Without a node that died it goes on as well.
    lab.lose("netns2").unwrap();
    lab.read_back(&Reply::default()).unwrap();
    assert_eq!(lab.topology().nodes.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["netns1"]);
}

/// A node dies with its programs, whoever holds one of them, and another takes its place.
///
///     [netns1] --- [host: br0] --- [netns2]
#[test]
fn a_lost_node_has_a_successor() {
    let mut lab = Lab::of("pair").unwrap();
    let child = lab.command("sleep").unwrap().arg("1000").inside(lab.node("netns2")).spawn().unwrap();
    let printed = child.stdout();
    lab.lose("netns2").unwrap();
    assert_eq!(child.output(Duration::from_secs(10)).unwrap().status.signal(), Some(9));
    drop(printed);
    let netns2 = lab.asked().node("netns2").unwrap().clone();
    let mut wrong = netns2.clone();
    wrong.routes.push(wrong.routes[0].clone());
    assert!(lab.add(wrong, Vec::new()).is_err());
    lab.add(netns2, Vec::new()).unwrap();
    assert_eq!(lab.asked().nodes.len(), 2);
    assert!(answers(lab.node("netns1"), lab.node("netns2")));
    lab.down().unwrap();
}

/// Programs know a namespace that came later, whether one ran before or not, and it dies as a node does.
#[rstest]
#[case::before(false)]
#[case::after(true)]
fn a_further_namespace_is_known(#[case] has_run: bool) {
    let mut lab = Lab::of("pair").unwrap();
    let read = |lab: &Lab, script| lab.command("sh").unwrap().args(["-c", script]).read(Duration::from_secs(10));
    if has_run {
        read(&lab, "true").unwrap();
    }
    lab.add_namespace("late").unwrap();
    let late = netproof::topology::Node { name: "late".into(), ..lab.asked().nodes[1].clone() };
    for refused in
        [lab.add(late, Vec::new()).err(), lab.add_namespace("netns1").err(), lab.add_namespace("../up").err()]
    {
        assert!(matches!(refused, Some(Error::Usage(_))), "{refused:?}");
    }
    assert_eq!(read(&lab, "ip -n late -br link show lo | cut -c1-2").unwrap(), "lo");
    lab.lose("late").unwrap();
    assert!(read(&lab, "test -e /run/netns/late").is_err());
    assert!(matches!(lab.lose("late"), Err(Error::Usage(_))));
}

/// A test writes programs and their files into a lab, and is told what is wrong with one that does not start.
#[test]
fn programs_and_files_are_written() {
    let lab = Lab::of("pair").unwrap();
    let world = lab.world().unwrap();
    world.write("/etc/mine/conf", "yes").unwrap();
    world.write_program("/run/mine/fake", "#!/bin/sh\ncat /etc/mine/conf\n").unwrap();
    assert_eq!(world.command("/run/mine/fake").read(Duration::from_secs(10)).unwrap(), "yes");
    let error = world.command("/etc/mine/conf").read(Duration::from_secs(10)).unwrap_err();
    let told = "starting /etc/mine/conf in namespace host: Permission denied (os error 13) (is it executable?)";
    assert_eq!((error.to_string(), format!("{error:?}")), (told.into(), told.into()));
}

/// A name that is none of a node's is wrong usage, and changes nothing.
#[test]
fn no_node_has_that_name() {
    let mut lab = Lab::of("pair").unwrap();
    for error in [lab.remove("netsn1").unwrap_err(), lab.lose("netsn1").unwrap_err()] {
        assert!(matches!(error, Error::Usage(_)) && error.to_string().contains("netsn1"), "{error}");
    }
    assert!(answers(lab.node("netns1"), lab.node("netns2")));
}

/// With a node that is added the topology must still be one: what cannot stand is not tried.
#[test]
fn an_added_node_is_checked() {
    let mut lab = Lab::of("pair").unwrap();
    let netns2 = lab.asked().node("netns2").unwrap().clone();
    let named = |name: &str| netproof::topology::Node { name: name.into(), ..netns2.clone() };
    for (node, why) in [(named("host"), "no name for a node"), (named("netns3"), "already netns2's")] {
        let error = lab.add(node, Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Topology(_)) && error.to_string().contains(why), "{error}");
    }
    assert_eq!(lab.nodes().len(), 2);
}

/// A node that is lost takes the other end of its veth with it, and none that is joined to another is added.
///
///     [netns1] --- [netns2]
#[test]
fn a_joined_node_is_lost() {
    let mut lab = Lab::of("direct").unwrap();
    let netns2 = lab.asked().node("netns2").unwrap().clone();
    lab.lose("netns2").unwrap();
    assert_eq!(
        lab.node("netns1").link("veth1-1").look(Deadline::after(Duration::ZERO)).unwrap().to_string(),
        "there is no such link"
    );
    let error = lab.add(netns2, Vec::new()).unwrap_err().to_string();
    assert!(error.contains("netns2 is joined to netns1 by a veth"), "{error}");
}

/// A folder where a lab has one of its own is seen where the lab is told to show it, and is read-only; who forgets is told.
#[test]
fn a_folder_is_shown() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let program = folder.path().join("mine");
    netproof::world::write_program(&program, "#!/bin/sh\ntouch $0.new || echo read-only\n").unwrap();
    let pair = || Lab::builder(Topology::shipped("pair").unwrap());
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(folder.path().strip_prefix("/").unwrap());
    for path in [folder.path(), &relative] {
        let lab = pair().show(path).prepare().unwrap();
        assert_eq!(lab.command(&program).unwrap().read(Duration::from_secs(10)).unwrap(), "read-only", "{path:?}");
    }
    let lab = pair().show("/no/such/folder").prepare().unwrap();
    let error = lab.command("true").err().unwrap().to_string();
    assert!(error.contains("showing /no/such/folder: No such file"), "{error}");
    let lab = pair().prepare().unwrap();
    let error = lab.command(&program).unwrap().spawn().unwrap_err().to_string();
    assert!(error.contains("Lab::builder(...).show(FOLDER)"), "{error}");
}

/// A node that could not be set up is taken back: mended, it is added.
///
///     outside --- eth0 [host: br0] --- [netns1] [netns2] ([netns3])
#[test]
fn a_failed_add_is_taken_back() {
    let mut lab = Lab::of("gateway-one-subnet").unwrap();
    let before = Inventory::of(lab.host()).unwrap();
    let mut node = lab.asked().node("netns2").unwrap().clone();
    node.name = "netns3".into();
    node.interfaces[0].port = Some("veth3-0".into());
    node.interfaces[0].addresses = vec!["10.20.20.43/16".parse().unwrap()];
    let mended = node.clone();
    // The kernel takes no route twice.
    node.routes.push(node.routes[0].clone());
    let error = lab.add(node, Vec::new()).unwrap_err().to_string();
    assert!(error.contains("exists"), "{error}");
    assert_eq!(before.changes(&Inventory::of(lab.host()).unwrap()), []);
    lab.add(mended, Vec::new()).unwrap();
    assert!(answers(lab.node("netns1"), lab.node("netns3")));
}
