//! Namespaces for the probes' own tests, which stand below the lab.

use std::{
    os::fd::{AsFd, AsRawFd},
    process::Command,
    time::Duration,
};

use crate::{Deadline, Namespace, Probe};

/// Looks once.
pub(crate) fn look<P: Probe>(probe: &P) -> P::Output {
    probe.look(Deadline::after(Duration::from_secs(5))).unwrap()
}

/// Runs shell commands inside.
pub(crate) fn script(namespace: &Namespace, text: &str) {
    let done = namespace.run(|| Command::new("sh").args(["-ec", text]).status().unwrap()).unwrap();
    assert!(done.success(), "{text}");
}

/// Two namespaces joined by one veth pair: `a0` (10.0.0.1/24, fd00::1/64) in `a`, `b0` (.2, ::2) in `b`.
pub(crate) fn pair() -> (Namespace, Namespace) {
    let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
    script(&a, &format!("ip link add a0 type veth peer b0 netns {}", path(&b)));
    address(&a, "a0", 1);
    address(&b, "b0", 2);
    (a, b)
}

/// [`pair`], with `b` as a router that sends 10.8.0.0/16 back and has an unreachable route to 10.9.0.0/16.
pub(crate) fn routed() -> (Namespace, Namespace) {
    let (a, b) = pair();
    script(&a, "ip route add 10.8.0.0/15 via 10.0.0.2");
    script(&b, "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/icmp_ratelimit");
    script(&b, "ip route add 10.8.0.0/16 via 10.0.0.1; ip route add unreachable 10.9.0.0/16");
    (a, b)
}

/// A bridge `br0` (10.0.0.254/24) in `host`, and nodes `n1` (10.0.0.1/24, fd00::1/64 on `e1`, port `p1`), `n2`, `n3`.
pub(crate) fn bridged() -> (Namespace, [Namespace; 3]) {
    let host = Namespace::new("host").unwrap();
    script(&host, "ip link add br0 type bridge; ip link set br0 up; ip addr add 10.0.0.254/24 dev br0");
    let nodes = [1, 2, 3].map(|number| {
        let node = Namespace::new(format!("n{number}")).unwrap();
        let (port, end) = (format!("p{number}"), format!("e{number}"));
        script(&host, &format!("ip link add {port} type veth peer {end} netns {}", path(&node)));
        script(&host, &format!("ip link set {port} master br0 up"));
        address(&node, &end, number);
        node
    });
    // Reading the links back runs the kernel's link watch: the ports forward from here on.
    script(&host, "for port in br0 p1 p2 p3; do ip link show $port >/dev/null; done");
    (host, nodes)
}

fn path(namespace: &Namespace) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_fd().as_raw_fd())
}

fn address(namespace: &Namespace, device: &str, host: u8) {
    script(
        namespace,
        &format!(
            "ip link set lo up; ip link set {device} up; ip addr add 10.0.0.{host}/24 dev {device};
             ip addr add fd00::{host}/64 dev {device} nodad;
             echo 50 >/proc/sys/net/ipv4/neigh/{device}/retrans_time_ms;
             echo 50 >/proc/sys/net/ipv6/neigh/{device}/retrans_time_ms; ip link show {device} >/dev/null"
        ),
    );
}
