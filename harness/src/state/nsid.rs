//! By which number a namespace knows another.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};

use super::Peer;
use crate::{Namespace, Result};

impl Namespace {
    /// The number by which this namespace knows `other` (`ip netns list-id`), where a link of its has led there.
    pub(crate) fn nsid_of(&self, other: &Self) -> Result<Option<i32>> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(other.as_fd().as_raw_fd() as u32));
        let found = self.ask("looking up a namespace's id", RouteNetlinkMessage::GetNsId(message), false)?;
        let attributes = found.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNsId(message) => Some(&message.attributes),
            _ => None,
        });
        let id = attributes.flatten().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(*id),
            _ => None,
        });
        Ok(id.filter(|id| *id >= 0))
    }
}

/// What a namespace calls others.
pub(crate) struct Numbers(Vec<(i32, Namespace)>);

impl Numbers {
    /// What `here` calls those of `known` that a link of its leads to.
    pub fn of(here: &Namespace, known: &[Namespace]) -> Result<Self> {
        let mut numbers = Vec::new();
        for namespace in known {
            numbers.extend(here.nsid_of(namespace)?.map(|nsid| (nsid, namespace.clone())));
        }
        Ok(Self(numbers))
    }

    /// The namespace that a veth's other end is in, where it is another.
    pub fn namespace(&self, peer: Peer) -> Option<&Namespace> {
        self.0.iter().find(|(nsid, _)| peer.nsid == Some(*nsid)).map(|(_, namespace)| namespace)
    }
}
