//! Counters: of the IP stack as `nstat` names them, and of devices.

use std::{fmt, fs};

use rtnetlink::packet_route::link::{LinkAttribute, Stats64};

use super::{Probe, Seen, Watch, traffic::Again};
use crate::{Deadline, Error, Namespace, Result, topology};

impl Namespace {
    /// Looks at a counter of the namespace's IP stack, by the name that `nstat -az` gives it:
    /// `TcpExtIPReversePathFilter`, `IpForwDatagrams`, `Ip6OutForwDatagrams`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("pair")?;
    /// let host = lab.host();
    /// expect!(host.counter("TcpExtIPReversePathFilter"), 0);
    /// expect!(host.counter("tx_dropped").on("br0"), 0);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn counter(&self, name: &str) -> Counter {
        Counter { namespace: self.clone(), name: name.into(), dev: None }
    }
}

/// A probe of one counter.
#[derive(Clone, Debug)]
#[must_use]
pub struct Counter {
    namespace: Namespace,
    name: String,
    dev: Option<String>,
}

/// A counter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Its name.
    pub name: String,
    /// What it has counted.
    pub value: u64,
}

impl Counter {
    /// A device's counter instead, by the name that `/sys/class/net/DEV/statistics/` gives it: `tx_dropped`,
    /// `rx_dropped`, `rx_packets`, `tx_bytes`. Equivalent to `ip -s link show DEV`.
    pub fn on(mut self, dev: impl Into<String>) -> Self {
        self.dev = Some(dev.into());
        self
    }

    /// Its value now. One that this kernel does not have is an error.
    pub fn read(&self) -> Result<u64> {
        if let Some(dev) = &self.dev {
            let link = self.namespace.link_message(dev)?;
            let found = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => of_device(stats, &self.name),
                _ => None,
            });
            return found.ok_or_else(|| {
                Error::Usage(format!("devices have no counter {}{}", self.name, meant(&self.name, OF_DEVICES)))
            });
        }
        let read = |file: &str| {
            let text = self.namespace.run(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))?;
            text.map_err(|error| Error::kernel(format!("reading /proc/net/{file}"), self.namespace.name(), error))
        };
        let of_v6 = self.name.contains('6');
        let text = if of_v6 { read("snmp6")? } else { read("snmp")? + &read("netstat")? };
        let known = if of_v6 { one_a_line(&text) } else { two_lines(&text) };
        let found = known.iter().find(|(group, field, _)| self.name.strip_prefix(group) == Some(field));
        let found = found.map(|(.., value)| *value).or_else(|| is_of_a_type(&self.name).then_some(0));
        found.ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|(group, field, _)| format!("{group}{field}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Error::Unsupported(format!("this kernel has no counter {}{}", self.name, meant(&self.name, &names)))
        })
    }
}

/// What is said of a name that may be misspelt.
fn meant(name: &str, known: &[&str]) -> String {
    let nearest = topology::nearest(name, known.iter().copied());
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

impl Probe for Counter {
    type Output = Count;

    fn describe(&self) -> String {
        match &self.dev {
            Some(dev) => format!("{}: ip -s link show {dev}: {}", self.namespace.name(), self.name),
            None => format!("{}: nstat -az {}", self.namespace.name(), self.name),
        }
    }

    fn look(&self, _deadline: Deadline) -> Result<Count> {
        Ok(Count { name: self.name.clone(), value: self.read()? })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for Count {
    type As<'a> = u64;

    fn seen(&self) -> u64 {
        self.value
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value)
    }
}

macro_rules! of_devices {
    ($($known:ident)*) => {
        const OF_DEVICES: &[&str] = &[$(stringify!($known)),*];

        fn of_device(stats: &Stats64, name: &str) -> Option<u64> {
            match name { $(stringify!($known) => Some(stats.$known),)* _ => None }
        }
    };
}
of_devices! {
    rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped multicast collisions
    rx_length_errors rx_over_errors rx_crc_errors rx_frame_errors rx_fifo_errors rx_missed_errors rx_nohandler
    tx_aborted_errors tx_carrier_errors tx_fifo_errors tx_heartbeat_errors tx_window_errors
    rx_compressed tx_compressed
}

/// Whether it counts ICMP messages of one type (`IcmpMsgOutType3`, `Icmp6InType128`), which the kernel lists once there
/// was one.
fn is_of_a_type(name: &str) -> bool {
    let message = name.strip_prefix("IcmpMsg").or_else(|| name.strip_prefix("Icmp6"));
    let way = message.and_then(|rest| rest.strip_prefix("In").or_else(|| rest.strip_prefix("Out")));
    way.and_then(|rest| rest.strip_prefix("Type")).is_some_and(|number| number.parse::<u8>().is_ok())
}

/// A counter's group (`TcpExt`), its name in the group, and its value.
type Known<'a> = (&'a str, &'a str, u64);

/// `Ip6OutForwDatagrams    7`
fn one_a_line(text: &str) -> Vec<Known<'_>> {
    let lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.filter_map(|(name, value)| Some(("", name, value.trim().parse().ok()?))).collect()
}

/// A line of names after `Ip:`, then a line of values after the same.
fn two_lines(text: &str) -> Vec<Known<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2).filter_map(|pair| Some((pair[0].split_once(':')?, pair[1].split_once(':')?.1)));
    let fields = pairs.flat_map(|((group, names), values)| {
        let values = names.split_whitespace().zip(values.split_whitespace());
        // One that is negative (`TcpMaxConn`) counts nothing.
        values.filter_map(move |(name, value)| Some((group, name, value.parse().ok()?)))
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        link::set_mtu,
        probe::testing::{look, pair},
    };

    /// Each of the three files is read, and an unknown name is told as such; of ICMP's types the kernel lists only those
    /// that it has counted.
    #[test]
    fn counters_are_found_by_nstats_names() {
        let (a, b) = pair();
        for name in ["IpForwDatagrams", "TcpExtIPReversePathFilter", "IcmpInRedirects", "Ip6OutForwDatagrams"] {
            assert_eq!(a.counter(name).read().unwrap(), 0, "{name}");
        }
        for name in ["IpNothing", "IcmpMsgOutType", "IcmpMsgType3", "Icmp6OutType999"] {
            assert!(matches!(a.counter(name).read(), Err(Error::Unsupported(_))), "{name}");
        }
        let misspelt = a.counter("TcpExtIPReversePathFiltre").read().unwrap_err().to_string();
        assert!(misspelt.ends_with("did you mean `TcpExtIPReversePathFilter`?"), "{misspelt}");
        let replies = ["IcmpMsgOutType0", "Icmp6OutType129"].map(|name| b.counter(name));
        assert_eq!(replies.each_ref().map(|replies| replies.read().unwrap()), [0, 0]);
        for address in ["10.0.0.2", "fd00::2"] {
            assert!(look(&a.ping(address.parse::<IpAddr>().unwrap())).answered());
        }
        assert_eq!(replies.map(|replies| replies.read().unwrap()), [1, 1]);
    }

    /// A frame larger than the receiver's MTU and a VLAN tag allow is dropped, and counted at both ends.
    ///
    ///     a[a0 mtu 1500] --- b[b0 mtu 1400]
    #[test]
    fn dropped_frames_are_counted_at_both_ends() {
        let (a, b) = pair();
        b.apply(set_mtu("b0", 1400)).unwrap();
        let drops =
            || [a.counter("tx_dropped").on("a0"), b.counter("rx_dropped").on("b0")].map(|drops| drops.read().unwrap());
        let before = drops();
        let there = IpAddr::from(Ipv4Addr::new(10, 0, 0, 2));
        assert!(look(&a.ping(there).size(1400 - 28)).answered());
        assert_eq!(drops(), before);
        assert!(!look(&a.ping(there).size(1420 - 28).dont_fragment()).answered());
        assert_eq!(drops(), before.map(|count| count + 1));
        let sysfs = "/sys/class/net/lo/statistics";
        for name in fs::read_dir(sysfs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            a.counter(&name).on("lo").read().unwrap();
        }
        let misspelt = a.counter("tx_droped").on("a0").read().unwrap_err().to_string();
        assert!(misspelt.contains("devices have no counter tx_droped; did you mean `tx_dropped`?"), "{misspelt}");
        assert!(a.counter("tx_dropped").on("a9").read().is_err());
    }
}
