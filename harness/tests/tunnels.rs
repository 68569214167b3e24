//! Devices without Ethernet: what passes them, what a program behind one gets, and why what it carries is lost.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{net::Ipv4Addr, time::Duration};

use netproof::{
    Deadline, Explanation, Lab, Node, Probe, expect, explain,
    filter::{echo_reply_from, echo_request_to, icmp_echo, incoming, outgoing, udp_to_port},
    forge,
    world::{Child, Signal},
};

const SOON: Duration = Duration::from_secs(10);
const LEFT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Carries what it reads from a device to a UDP port of its peer, and back.
const PROGRAM: &str = r#"
import fcntl, os, select, socket, struct, sys
dev, flags, port, own, peer = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", dev.encode(), int(flags)))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((own, int(port)))
print("ready", flush=True)
while True:
    ready, _, _ = select.select([tun, udp], [], [])
    if tun in ready:
        udp.sendto(os.read(tun, 65536), (peer, int(port)))
    if udp in ready:
        packet = udp.recv(65536)
        try:
            os.write(tun, packet)
        except OSError:
            pass # The device is not up yet.
"#;

/// IFF_TUN, or IFF_TAP, and IFF_NO_PI: Documentation/networking/tuntap.rst.
const TUN: u16 = 0x1001;
const TAP: u16 = 0x1002;

/// Carries `dev` of a node's to another's.
fn carry(lab: &Lab, (here, there): (&Node, &Node), dev: &str, flags: u16, port: u16, address: &str) -> Child {
    let words =
        [dev.into(), flags.to_string(), port.to_string(), here.address().to_string(), there.address().to_string()];
    let program = lab.command("python3").unwrap().args(["-c", PROGRAM]).args(words).inside(here).spawn().unwrap();
    expect!(program.stdout(), "ready\n");
    ip(lab, here, &format!("address add {address} dev {dev}"));
    ip(lab, here, &format!("link set {dev} up"));
    program
}

fn ip(lab: &Lab, node: &Node, line: &str) {
    lab.command("ip").unwrap().args(line.split(' ')).inside(node).read(SOON).unwrap();
}

///     [netns1: tun0 10.9.0.1] === [netns2: tun0 10.9.0.2]     over a wire
struct Tunnel {
    lab: Lab,
    programs: [Child; 2],
}

impl Tunnel {
    fn up() -> Self {
        Self::of("tun0", TUN)
    }

    fn of(dev: &str, flags: u16) -> Self {
        let lab = Lab::of("direct").unwrap();
        let [one, two] = ["netns1", "netns2"].map(|name| lab.node(name));
        let programs = [((one, two), LEFT), ((two, one), RIGHT)]
            .map(|(ends, own)| carry(&lab, ends, dev, flags, 5000, &format!("{own}/24")));
        Self { lab, programs }
    }

    fn nodes(&self) -> [&Node; 2] {
        ["netns1", "netns2"].map(|name| self.lab.node(name))
    }
}

/// What passes a TUN device is read as the IP packet that it is, on the device itself and on `any`; sentinels pass, and mark
/// the moment at the other end too; a capture is one of IP packets.
#[test]
fn a_tap_reads_what_has_no_ethernet() {
    let tunnel = Tunnel::up();
    let [left, right] = tunnel.nodes();
    let (here, there, all) = (left.tap("tun0").unwrap(), right.tap("tun0").unwrap(), right.tap("any").unwrap());
    expect!(left.ping(RIGHT), Reply { ttl: 64, .. });
    expect!(here.frames(echo_request_to(RIGHT).and(outgoing())).before((&**left, "tun0")), 1);
    expect!(there.frames(echo_request_to(RIGHT).and(incoming())).before((&**left, "tun0")), 1);
    expect!(all.frames(echo_reply_from(RIGHT).and(outgoing())), 1..);
    expect!(here.frames(udp_to_port(7)).before((&**left, "tun0")), 0);
    let seen = here.frames(icmp_echo()).look(Deadline::after(SOON)).unwrap();
    let text = seen.frames[0].to_string();
    assert!(text.contains(" Out ethertype IPv4 (0x0800), length 84: 10.9.0.1 > 10.9.0.2: ICMP echo request"), "{text}");
    let file = tempfile::NamedTempFile::new().unwrap();
    here.save(file.path()).unwrap();
    let saved = std::fs::read(file.path()).unwrap();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(&saved[..]).unwrap();
    while let Some(block) = reader.next_block() {
        block.unwrap();
    }
    assert_eq!(reader.interfaces().iter().map(|it| it.linktype).collect::<Vec<_>>(), [pcap_file::DataLink::RAW]);
}

/// From a device without Ethernet an IP packet is sent, and nothing that has another header before it.
#[test]
fn an_injector_sends_packets_there() {
    let tunnel = Tunnel::up();
    let [left, right] = tunnel.nodes();
    let there = right.tap("tun0").unwrap();
    let injector = left.injector("tun0").unwrap();
    let macs = [injector.mac(); 2];
    let way =
        forge::Way { source_mac: macs[0], destination_mac: macs[1], source: LEFT.into(), destination: RIGHT.into() };
    let frame = forge::echo_request(way, 7, 1);
    let error = injector.send(&frame).unwrap_err().to_string();
    assert!(error.starts_with("tun0 in netns1 has no Ethernet"), "{error}");
    injector.send(&frame[14..]).unwrap();
    expect!(there.frames(echo_request_to(RIGHT)), 1..);
}

/// What becomes of a ping, once that is as it should be: a program may take longer to carry it than a look waits.
fn explained(from: &Node, to: Ipv4Addr, is_it: impl Fn(&Explanation) -> bool) -> Explanation {
    let deadline = Deadline::after(SOON);
    loop {
        let explained = explain(&from.ping(to).journey().unwrap(), || ()).unwrap();
        if is_it(&explained) || deadline.passed() {
            return explained;
        }
    }
}

/// A packet is followed through a tunnel that carries it, and not where nobody does.
#[test]
fn a_tunnel_is_walked_through() {
    let tunnel = Tunnel::up();
    let [left, right] = tunnel.nodes();
    right.set_sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
    let is_muted = |told: &Explanation| told.cause.as_deref().is_some_and(|cause| cause.starts_with("ICMP muted"));
    let muted = explained(left, RIGHT, is_muted);
    assert!(is_muted(&muted), "{muted}");
    assert_eq!(muted.way, "netns1 tun0 > netns2 tun0");
    right.set_sysctl("net.ipv4.icmp_echo_ignore_all", "0").unwrap();
    assert_eq!(explained(left, RIGHT, |told| told.cause.is_none()).cause, None);
    tunnel.programs[1].signal(Signal::SIGSTOP).unwrap();
    let lost = explained(left, RIGHT, |_| true);
    let cause = lost.cause.unwrap();
    assert!(
        cause.starts_with("the packet is handed to tun0 in netns1, and comes out of no other device here"),
        "{cause}"
    );
    assert_eq!(lost.way, "netns1 tun0");
}

/// Of a device that looks for neighbours it is told whether the one is found, and where it is looked for in vain.
#[test]
fn a_neighbour_behind_a_tunnel() {
    let tunnel = Tunnel::of("tap0", TAP);
    let [left, right] = tunnel.nodes();
    let afresh = |to: Ipv4Addr, wanted: &str| {
        let is_it = |told: &Explanation| {
            ip(&tunnel.lab, left, "neigh flush all");
            told.cause.as_deref().unwrap_or_default() == wanted
        };
        ip(&tunnel.lab, left, "neigh flush all");
        let explained = explained(left, to, is_it);
        assert_eq!(explained.cause.unwrap_or_default(), wanted);
        explained.way
    };
    // What is dropped before it leaves asks for no neighbour.
    let forbid = "add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c icmp type echo-request drop";
    tunnel.lab.command("nft").unwrap().arg(forbid).inside(left).read(SOON).unwrap();
    let told = explained(left, RIGHT, |_| true).cause.unwrap();
    assert!(
        told.starts_with("the packet does not leave by tap0 in netns1, though its route leads there: netns1 drops it"),
        "{told}"
    );
    left.firewall().flush().unwrap();
    assert_eq!(afresh(RIGHT, ""), "netns1 tap0 > netns2 tap0 > tap0 > netns1 tap0");
    let nobody = "netns1 looks for 10.9.0.77 behind tap0, where nobody has that address, nor does any other namespace of this lab";
    assert_eq!(afresh(Ipv4Addr::new(10, 9, 0, 77), nobody), "netns1 tap0");
    right.set_sysctl("net.ipv4.conf.tap0.arp_ignore", "8").unwrap();
    let looks = "tap0 in netns1 finds no neighbour for 10.9.0.2, which is on tap0 in netns2: the question";
    afresh(RIGHT, &format!("{looks} gets there, and no answer comes back"));
    tunnel.programs[1].signal(Signal::SIGSTOP).unwrap();
    afresh(RIGHT, &format!("{looks} does not get there"));
}

/// Of several tunnels a packet is followed through each, in their order.
///
///     [netns1: tun1 10.9.1.1] === [host: tun1, tun2] === [netns2: tun2 10.9.2.2]
#[test]
fn two_tunnels_are_walked_through() {
    let lab = Lab::of("gateway").unwrap();
    let (host, [one, two]) = (lab.host(), ["netns1", "netns2"].map(|name| lab.node(name)));
    let _programs = [
        carry(&lab, (one, host), "tun1", TUN, 5001, "10.9.1.1/24"),
        carry(&lab, (host, one), "tun1", TUN, 5001, "10.9.1.254/24"),
        carry(&lab, (host, two), "tun2", TUN, 5002, "10.9.2.254/24"),
        carry(&lab, (two, host), "tun2", TUN, 5002, "10.9.2.2/24"),
    ];
    ip(&lab, one, "route add 10.9.2.0/24 dev tun1");
    ip(&lab, two, "route add 10.9.1.0/24 dev tun2");
    let explained = explained(one, Ipv4Addr::new(10, 9, 2, 2), |told| told.cause.is_none());
    assert_eq!(explained.cause, None);
    let (there, back) = ("netns1 tun1 > host tun1 > tun2 > netns2 tun2", "tun2 > host tun2 > tun1 > netns1 tun1");
    assert_eq!(explained.way, format!("{there} > {back}"));
    // What does not leave the second has not come out of the first again.
    let forbid =
        "add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c oifname tun2 drop";
    lab.command("nft").unwrap().arg(forbid).inside(host).read(SOON).unwrap();
    let told = self::explained(one, Ipv4Addr::new(10, 9, 2, 2), |told| told.way.ends_with("host tun1"));
    let drops =
        "the packet does not leave by tun2 in host, though its route leads there: host drops it by its firewall";
    assert!(told.cause.as_ref().is_some_and(|cause| cause.starts_with(drops)), "{told}");
}
