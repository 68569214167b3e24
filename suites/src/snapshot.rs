//! What stands in a lab at one time, and what came of it since.

use netproof::{Inventory, Lab, Namespace, Result};

/// All that someone could leave behind, change or take away in a lab, as it was at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    inventories: Vec<(Namespace, Inventory)>,
}

impl Snapshot {
    /// Takes it, in every namespace of the lab.
    pub fn of(lab: &Lab) -> Result<Self> {
        let nodes = lab.site().nodes.iter().cloned();
        let all = [lab.site().host.clone()].into_iter().chain(nodes).chain(lab.site().outside.clone());
        let inventories = all.map(|namespace| Ok((namespace.clone(), Inventory::of(&namespace)?)));
        Ok(Self { inventories: inventories.collect::<Result<_>>()? })
    }

    /// What changed since, as a diff with a head for each namespace; nothing, where nothing did.
    pub fn diff(&self) -> Result<Option<String>> {
        let mut text = String::new();
        for (namespace, before) in &self.inventories {
            let changes = before.changes(&Inventory::of(namespace)?);
            if !changes.is_empty() {
                text += &format!("{}:\n", namespace.name());
            }
            for change in changes {
                text += &format!("  {change}\n");
            }
        }
        Ok((!text.is_empty()).then(|| text.trim_end().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use netproof::{Topology, link};

    use super::*;

    /// What came and what went is named, in the namespace where it did; what is back as it was is not.
    #[test]
    fn changes_are_named() {
        let lab = Lab::builder(Topology::shipped("pair").unwrap()).prepare().unwrap();
        let before = Snapshot::of(&lab).unwrap();
        assert_eq!(before.diff().unwrap(), None);
        lab.host().apply(link::Bridge::new("br7").down().request()).unwrap();
        let diff = before.diff().unwrap().unwrap();
        assert!(diff.starts_with("host:\n  + link br7"), "{diff}");
        assert!(!diff.contains("netns1"), "{diff}");
        lab.host().apply(link::delete("br7")).unwrap();
        assert_eq!(before.diff().unwrap(), None);
    }
}
