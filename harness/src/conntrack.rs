//! Connection tracking: the flows that the kernel remembers.

use std::net::{IpAddr, SocketAddr};

use crate::{
    Namespace, Result,
    ruleset::{
        attribute::{Attributes, attribute},
        socket::{NetfilterSocket, REQUEST, body, message},
    },
};

/// A flow that the kernel remembers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flow {
    /// The IP protocol: 6 is TCP, 17 UDP.
    pub protocol: u8,
    /// Its first packet's source and destination; port 0 where there are none.
    pub original: (SocketAddr, SocketAddr),
    /// Those of the packets that answer it: translated addresses differ.
    pub reply: (SocketAddr, SocketAddr),
    family: u8,
    tuple: Vec<u8>,
}

const SUBSYSTEM: u16 = 1 << 8;

impl Namespace {
    /// The flows that the kernel remembers. Equivalent to `conntrack -L`.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let dumped = NetfilterSocket::open(self)?.dump("listing flows", SUBSYSTEM | 1, 0, &[])?;
        Ok(dumped.iter().filter_map(|part| read(part.family, &part.attributes)).collect())
    }

    /// Forgets the flows that `unwanted` picks. Equivalent to `conntrack -D`.
    pub fn delete_flows(&self, unwanted: impl Fn(&Flow) -> bool) -> Result<()> {
        let socket = NetfilterSocket::open(self)?;
        for flow in self.flows()?.iter().filter(|flow| unwanted(flow)) {
            const NESTED: u16 = 1 << 15;
            let body = body(flow.family, &[attribute(1 | NESTED, &flow.tuple)]);
            socket.send("deleting a flow", &message(SUBSYSTEM | 2, REQUEST, 1, &body))?;
            // It may have ended by itself.
            if let Some(refusal) = socket.refusals()?.iter().find(|refusal| refusal.errno != libc::ENOENT) {
                return Err(socket.error("deleting a flow", refusal));
            }
        }
        Ok(())
    }
}

fn read(family: u8, flow: &Attributes) -> Option<Flow> {
    let (original, protocol) = ends(&flow.nested(1))?;
    let (reply, _) = ends(&flow.nested(2))?;
    Some(Flow { protocol, original, reply, family, tuple: flow.bytes(1)?.to_owned() })
}

fn ends(tuple: &Attributes) -> Option<((SocketAddr, SocketAddr), u8)> {
    let (ip, transport) = (tuple.nested(1), tuple.nested(2));
    let address = |v4: u16, v6: u16| {
        let four = ip.bytes(v4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from);
        four.or_else(|| ip.bytes(v6).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from))
    };
    let port = |kind| transport.bytes(kind).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
    let source = SocketAddr::new(address(1, 3)?, port(2));
    let destination = SocketAddr::new(address(2, 4)?, port(3));
    Some(((source, destination), transport.bytes(1)?.first().copied()?))
}

#[cfg(test)]
mod tests;
