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

impl Peer {
    /// The namespace that it is in, among those that this process holds.
    pub fn namespace(&self, here: &Namespace, known: &[Namespace]) -> Result<Option<Namespace>> {
        let Some(nsid) = self.nsid else { return Ok(Some(here.clone())) };
        for namespace in known {
            if here.nsid_of(namespace)? == Some(nsid) {
                return Ok(Some(namespace.clone()));
            }
        }
        Ok(None)
    }
}
