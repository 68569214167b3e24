//! Devices without Ethernet: what passes them, what a program behind one gets, and why what it carries is lost.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{net::Ipv4Addr, time::Duration};

use netproof::{
    Deadline, Lab, Node, Probe, expect, explain,
    filter::{echo_reply_from, echo_request_to, icmp_echo, incoming, outgoing, udp_to_port},
    forge,
    world::{Child, Signal},
};

const SOON: Duration = Duration::from_secs(10);
const LEFT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Carries what it reads from tun0 to UDP port 5000 of its peer, and back.
const PROGRAM: &str = r#"
import fcntl, os, select, socket, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 5000))
print("ready", flush=True)
while True:
    ready, _, _ = select.select([tun, udp], [], [])
    if tun in ready:
        udp.sendto(os.read(tun, 65536), (sys.argv[2], 5000))
    if udp in ready:
        os.write(tun, udp.recv(65536))
"#;

///     [netns1: tun0 10.9.0.1] === [netns2: tun0 10.9.0.2]     over a wire
struct Tunnel {
    lab: Lab,
    programs: [Child; 2],
}

impl Tunnel {
    fn up() -> Self {
        let lab = Lab::of("direct").unwrap();
        let [one, two] = ["netns1", "netns2"].map(|name| lab.node(name));
        let programs = [(one, two, LEFT), (two, one, RIGHT)].map(|(here, there, own)| {
            let addresses = [here, there].map(|node| node.address().to_string());
            let command = lab.command("python3").unwrap().args(["-c", PROGRAM]).args(addresses).inside(here);
            let program = command.spawn().unwrap();
            expect!(program.stdout(), "ready\n");
            for line in [format!("address add {own}/24 dev tun0"), "link set tun0 up".into()] {
                lab.command("ip").unwrap().args(line.split(' ')).inside(here).read(SOON).unwrap();
            }
            program
        });
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

/// A packet is followed through a tunnel that carries it, and not where nobody does.
#[test]
fn a_tunnel_is_walked_through() {
    let tunnel = Tunnel::up();
    let [left, right] = tunnel.nodes();
    right.set_sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
    let explained = || explain(&left.ping(RIGHT).journey().unwrap(), || ()).unwrap();
    let muted = explained();
    assert!(muted.cause.as_deref().is_some_and(|cause| cause.starts_with("ICMP muted")), "{muted}");
    assert_eq!(muted.way, "netns1 tun0 > netns2 tun0");
    right.set_sysctl("net.ipv4.icmp_echo_ignore_all", "0").unwrap();
    assert_eq!(explained().cause, None);
    tunnel.programs[1].signal(Signal::SIGSTOP).unwrap();
    let lost = explained().to_string();
    assert!(
        lost.starts_with("the packet is handed to tun0 in netns1, and comes out of no other device here"),
        "{lost}"
    );
}
