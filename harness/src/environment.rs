//! What this machine has of what labs need.

use std::{fs, time::Duration};

use socket2::{Domain, Protocol, Type};

use crate::{
    Deadline, Error, Namespace, Result, World,
    link::{self, Bridge, BridgeOption, Veth},
};

pub use crate::enter::ready;

/// One thing that labs need, or can use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// What it is.
    pub what: &'static str,
    /// Whether labs are impossible without it.
    pub needed: bool,
    /// Whether it was found.
    pub found: bool,
    /// What was found, or how it failed.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// Tries each thing that labs need, or can use.
#[must_use]
pub fn checks() -> Vec<Check> {
    let mut checks = vec![check("privilege", true, ready().map(|()| privilege()), "run it as root")];
    if !checks[0].found {
        if let Err(Error::Environment { remedy, .. }) = ready() {
            checks[0].remedy = remedy;
        }
        return checks;
    }
    type Try = fn() -> Result<String>;
    let tries: [(&'static str, bool, Try, &str); 9] = [
        ("network namespaces", true, namespaces, "use a kernel with CONFIG_NET_NS"),
        ("bridge and veth", true, bridge_and_veth, "sudo modprobe bridge veth"),
        ("packet sockets", true, packet_sockets, "use a kernel with CONFIG_PACKET"),
        ("nf_tables with NAT", true, nf_tables, "sudo modprobe nf_tables nft_chain_nat nft_masq nf_conntrack"),
        ("IPv6", true, ipv6, "boot without ipv6.disable=1"),
        (
            "a world for programs",
            true,
            world,
            "start the container with --privileged: a masked /proc forbids a fresh one",
        ),
        (
            "cgroups for container engines",
            false,
            cgroups,
            "run it as root where a tree of version 2 is mounted, as by `mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
        ),
        ("bridged frames for the firewall", false, br_netfilter, "sudo modprobe br_netfilter"),
        ("VLAN filtering", false, vlan_filtering, "use a kernel with CONFIG_BRIDGE_VLAN_FILTERING"),
    ];
    checks.extend(tries.into_iter().map(|(what, needed, attempt, remedy)| check(what, needed, attempt(), remedy)));
    checks
}

fn check(what: &'static str, needed: bool, tried: Result<String>, remedy: &str) -> Check {
    let found = tried.is_ok();
    let detail = tried.unwrap_or_else(|error| error.to_string());
    Check { what, needed, found, detail, remedy: remedy.into() }
}

fn privilege() -> String {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().nth(2) == Some("4294967295");
    if whole { "root".into() } else { "a user namespace of its own".into() }
}

fn namespaces() -> Result<String> {
    Namespace::new("trial").map(|_| "can be made".into())
}

fn bridge_and_veth() -> Result<String> {
    let trial = Namespace::new("trial")?;
    trial.apply_all([Bridge::new("br0").request(), Veth::new("a", "b").request()])?;
    Ok("can be made".into())
}

fn packet_sockets() -> Result<String> {
    Namespace::new("trial")?.socket(Domain::PACKET, Type::RAW, None).map(|_| "can be opened".into())
}

fn nf_tables() -> Result<String> {
    let trial = Namespace::new("trial")?;
    let mut batch = trial.firewall().batch();
    let family = crate::firewall::Family::Ip;
    batch.add_table(family, "trial");
    batch.add_chain(family, "trial", "out", "type nat hook postrouting priority srcnat; policy accept;")?;
    batch.add_rule(family, "trial", "out", "masquerade")?;
    batch.commit().map(|()| "rules can be added".into())
}

fn ipv6() -> Result<String> {
    let trial = Namespace::new("trial")?;
    trial.socket(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    let disabled = trial.sysctl("net.ipv6.conf.all.disable_ipv6")?;
    Ok(format!("sockets can be opened; disable_ipv6={disabled}"))
}

fn world() -> Result<String> {
    let trial = Namespace::new("trial")?;
    let world = World::new(&trial, &[])?;
    let ran = world.command("/bin/true").output(Deadline::after(Duration::from_secs(10)))?;
    Ok(format!("a program ran in it: {}", ran.status))
}

fn cgroups() -> Result<String> {
    let trial = Namespace::new("trial")?;
    if World::new(&trial, &[])?.has_cgroup() {
        return Ok("a lab's programs have a subtree of their own".into());
    }
    Err(Error::Unsupported("no cgroup of version 2 is to be seen that this process may write to".into()))
}

fn br_netfilter() -> Result<String> {
    let name = "net.bridge.bridge-nf-call-iptables";
    let value = Namespace::new("trial")?.sysctl(name)?;
    Ok(format!("{name}={value} in a fresh namespace"))
}

fn vlan_filtering() -> Result<String> {
    let trial = Namespace::new("trial")?;
    trial.apply(Bridge::new("br0").request())?;
    trial.apply(link::set_bridge("br0", trial.index("br0")?, BridgeOption::VlanFiltering(true)))?;
    Ok("can be switched on".into())
}
