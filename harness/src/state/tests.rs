//! The state of labs that were made by `ip`, against what `ip` would say.

use std::io;

use super::*;
use crate::{
    link::{self, PortFlag},
    probe::testing::{bridged, look, pair, via},
    state::PortState,
};

/// Links, addresses, routes, neighbours and FDB entries are read whole, in the words of the tools.
///
///     n1 --- p1[br0 10.0.0.254]p2 --- n2
///               p3 ------- n3
#[test]
fn reads_what_is_there() {
    let (host, [n1, n2, _n3]) = bridged();
    let port = host.index("p1").unwrap();
    host.apply_all([PortFlag::Isolated, PortFlag::Hairpin].map(|flag| link::set_port("p1", port, flag, true))).unwrap();
    assert!(look(&n1.ping("10.0.0.2".parse::<IpAddr>().unwrap())).answered());
    let state = State::of(&host).unwrap();
    let (bridge, port) = (state.link("br0").unwrap(), state.link("p1").unwrap());
    assert!(bridge.is_bridge() && bridge.up && bridge.carrier && bridge.state == "UP");
    assert_eq!(state.master_of(port).map(|link| link.index), Some(bridge.index));
    assert_eq!(state.ports_of(bridge).map(|link| link.name.as_str()).collect::<Vec<_>>(), ["p1", "p2", "p3"]);
    let flags = port.port.unwrap();
    assert!(flags.isolated && flags.hairpin && flags.learning && flags.state == PortState::Forwarding);

    let peer = port.peer.unwrap();
    let numbers = Numbers::of(&host, &[n2.clone(), n1.clone()]).unwrap();
    let found = numbers.namespace(peer).unwrap();
    assert!(found.is_same(&n1).unwrap());
    let end = State::of(&n1).unwrap();
    assert_eq!(end.link_at(peer.index).unwrap().name, "e1");

    let text = state.to_string();
    for line in [
        "  br0 10.0.0.254/24 brd 10.0.0.255 scope global",
        "  10.0.0.0/24 dev br0 proto kernel scope link src 10.0.0.254",
        "master br0 state forwarding hairpin on isolated on",
        &format!("  {} dev p1 master br0\n", end.link("e1").unwrap().mac.unwrap()),
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let neighbour = end.neighbour("10.0.0.2".parse().unwrap(), "e1").unwrap();
    assert!(neighbour.is_usable() && neighbour.to_string().starts_with("10.0.0.2 dev e1 lladdr "), "{neighbour}");
}

/// The kernel's answer for a packet, its refusals included.
///
///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
#[test]
fn asks_for_one_packet() {
    let (a, _b) = pair();
    let [there, own, nowhere] = ["10.0.0.2", "10.0.0.1", "203.0.113.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let route = Question::to(there).ask(&a).unwrap().unwrap();
    assert_eq!((route.dev.as_deref(), route.via, route.src), (Some("a0"), None, Some(own)));
    assert!(Question::to(own).ask(&a).unwrap().unwrap().is_local());
    let error: io::Error = Question::to(nowhere).ask(&a).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));

    via(&a, "0.0.0.0/0", "10.0.0.2");
    a.apply(link::Veth::new("c0", "c1").request()).unwrap();
    a.set_sysctls(&[("net.ipv4.conf.c0.rp_filter", "1")]).unwrap();
    let question = Question { from: Some(there), iif: Some(a.index("c0").unwrap()), ..Question::to(own) };
    assert!(question.ask(&a).unwrap().is_err(), "the source's way is by a0");
    a.set_sysctl("net.ipv4.conf.c0.rp_filter", "0").unwrap();
    assert!(question.ask(&a).unwrap().unwrap().is_local());
}

/// What sets a route apart reads as `ip route` prints it, locks and units included.
///
///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
#[test]
fn options_read_as_ip_prints_them() {
    let (a, _b) = pair();
    let ip = |line: &str| {
        let output = a.run(|| std::process::Command::new("ip").args(line.split(' ')).output()).unwrap().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let options = [
        "mtu lock 1300 rto_min 40ms",
        "window 100 rtt 16ms rttvar 2s ssthresh lock 9 cwnd lock 12 advmss 1260",
        "hoplimit 7 initcwnd 5 features ecn initrwnd 20 quickack 1 congctl cubic fastopen_no_cookie 1",
        "mtu 1400 reordering 4",
    ];
    for options in options {
        ip(&format!("route replace 10.7.0.0/16 via 10.0.0.2 {options}"));
        let state = State::of(&a).unwrap();
        let route = state.routes.iter().find(|route| !route.options.is_empty()).unwrap();
        let printed = ip("route show 10.7.0.0/16");
        assert_eq!(format!("10.7.0.0/16 via 10.0.0.2 dev a0 {}", route.options), printed.trim_end().trim());
    }
}
