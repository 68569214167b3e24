//! The topologies that come with the crate, from `fixtures/topologies`.

use std::sync::LazyLock;

use super::Topology;
use crate::{Error, Result};

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/topologies/", $name, ".toml")))),*]
    };
}

/// Every topology that comes with the crate, in the article's order.
pub fn shipped() -> &'static [Topology] {
    static SHIPPED: LazyLock<Vec<Topology>> = LazyLock::new(|| {
        let files = files![
            "veth" "pair" "port-address" "host-route" "gateway" "gateway-two-subnets" "gateway-one-subnet" "gateway-v6"
            "publish" "publish-v6" "publish-loopback" "resolver" "internal" "internal-v6" "isolated-ports"
            "isolated-ports-v6" "isolated" "isolated-v6" "isolated-publish" "two-networks" "mtu" "hairpin-v6" "vlan"
            "anti-spoof" "direct" "mesh" "star"
        ];
        let parse = |(name, text): &(&str, &str)| {
            Topology::parse(&format!("{name}.toml"), text).expect("a test parses each of them")
        };
        files.iter().map(parse).collect()
    });
    &SHIPPED
}

impl Topology {
    /// The topology of this name that comes with the crate; an unknown name is an error that names the nearest.
    pub fn shipped(name: &str) -> Result<Self> {
        if let Some(topology) = shipped().iter().find(|topology| topology.name == name) {
            return Ok(topology.clone());
        }
        let nearest = nearest(name, shipped().iter().map(|topology| topology.name.as_str()));
        let hint = nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
        Err(Error::Usage(format!("no topology is called `{name}`; {hint}`netproof list` shows all")))
    }
}

/// Of the `known` names the one that `name` may be misspelt for; none where they have little in common.
///
/// ```
/// assert_eq!(netproof::topology::nearest("gatway", ["pair", "gateway"].into_iter()), Some("gateway"));
/// assert_eq!(netproof::topology::nearest("calico", ["pair", "gateway"].into_iter()), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const ENOUGH: f32 = 0.65;
    let likeness = |known: &'a str| (similar::TextDiff::from_chars(known, name).ratio(), known);
    let (ratio, nearest) = known.map(likeness).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (ratio >= ENOUGH).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shipped topology parses, and is found under the name of its file.
    #[test]
    fn all_are_whole() {
        assert_eq!(shipped().len(), 27);
        for topology in shipped() {
            assert!(!topology.summary.is_empty());
            assert_eq!(Topology::shipped(&topology.name).unwrap(), *topology);
        }
    }

    /// A misspelt name is told the right one.
    #[test]
    fn the_nearest_is_named() {
        let error = Topology::shipped("gatway").unwrap_err().to_string();
        assert!(error.contains("did you mean `gateway`"), "{error}");
    }
}
