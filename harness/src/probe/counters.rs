//! Counters: of the IP stack as `nstat` names them, and of devices.

use std::{fmt, fs};

use super::{Probe, Seen, Watch, traffic::Again};
use crate::{Deadline, Error, Namespace, Result};

impl Namespace {
    /// Looks at a counter of the namespace's IP stack, by the name that `nstat -az` gives it:
    /// `TcpExtIPReversePathFilter`, `IpForwDatagrams`, `Ip6OutForwDatagrams`.
    pub fn counter(&self, name: &str) -> Counter {
        Counter { namespace: self.clone(), name: name.into() }
    }
}

/// A probe of one counter.
#[derive(Clone, Debug)]
#[must_use]
pub struct Counter {
    namespace: Namespace,
    name: String,
}

/// A counter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    name: String,
    value: u64,
}

impl Counter {
    /// Its value now. One that this kernel does not have is an error.
    pub fn read(&self) -> Result<u64> {
        let read = |file: &str| {
            let text = self.namespace.run(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))?;
            text.map_err(|error| Error::kernel(format!("reading /proc/net/{file}"), self.namespace.name(), error))
        };
        let found = if self.name.contains('6') {
            one_a_line(&read("snmp6")?, &self.name)
        } else {
            two_lines(&read("snmp")?, &self.name).or(two_lines(&read("netstat")?, &self.name))
        };
        found.ok_or_else(|| Error::Unsupported(format!("this kernel has no counter {}", self.name)))
    }
}

impl Probe for Counter {
    type Output = Count;

    fn describe(&self) -> String {
        format!("{}: nstat -az {}", self.namespace.name(), self.name)
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

/// `Ip6OutForwDatagrams    7`
fn one_a_line(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| if words.next() == Some(name) { words.next()?.parse().ok() } else { None })
}

/// A line of names after `Ip:`, then a line of values after the same.
fn two_lines(text: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(2).find_map(|pair| {
        let (group, names) = pair[0].split_once(':')?;
        let field = name.strip_prefix(group)?;
        let place = names.split_whitespace().position(|known| known == field)?;
        pair[1].split_once(':')?.1.split_whitespace().nth(place)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the three files is read, and an unknown name is told as such.
    #[test]
    fn counters_are_found_by_nstats_names() {
        let namespace = Namespace::new("alone").unwrap();
        for name in ["IpForwDatagrams", "TcpExtIPReversePathFilter", "IcmpInRedirects", "Ip6OutForwDatagrams"] {
            assert_eq!(namespace.counter(name).read().unwrap(), 0, "{name}");
        }
        assert!(matches!(namespace.counter("IpNothing").read(), Err(Error::Unsupported(_))));
    }
}
