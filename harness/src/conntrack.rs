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

/// What the messages say, as `linux/netfilter/nfnetlink_conntrack.h` numbers it.
mod kernel {
    const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
    pub(super) const IPCTNL_MSG_CT_GET: u16 = SUBSYSTEM | 1;
    pub(super) const IPCTNL_MSG_CT_DELETE: u16 = SUBSYSTEM | 2;

    pub(super) const CTA_TUPLE_ORIG: u16 = 1;
    pub(super) const CTA_TUPLE_REPLY: u16 = 2;

    pub(super) const CTA_TUPLE_IP: u16 = 1;
    pub(super) const CTA_TUPLE_PROTO: u16 = 2;

    pub(super) const CTA_IP_V4_SRC: u16 = 1;
    pub(super) const CTA_IP_V4_DST: u16 = 2;
    pub(super) const CTA_IP_V6_SRC: u16 = 3;
    pub(super) const CTA_IP_V6_DST: u16 = 4;

    pub(super) const CTA_PROTO_NUM: u16 = 1;
    pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
    pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
}

impl Namespace {
    /// The flows that the kernel remembers. Equivalent to `conntrack -L`.
    ///
    /// ```no_run
    /// # let host = netproof::Namespace::new("host")?;
    /// let to_5353 = |flow: &netproof::conntrack::Flow| flow.original.1.port() == 5353;
    /// assert!(!host.flows()?.iter().any(to_5353), "a removed port's flows go with it");
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let dumped = NetfilterSocket::open(self)?.dump("listing flows", kernel::IPCTNL_MSG_CT_GET, 0, &[])?;
        Ok(dumped.iter().filter_map(|part| read(part.family, &part.attributes)).collect())
    }

    /// Forgets the flows that `unwanted` picks. Equivalent to `conntrack -D`.
    pub fn delete_flows(&self, unwanted: impl Fn(&Flow) -> bool) -> Result<()> {
        let socket = NetfilterSocket::open(self)?;
        for flow in self.flows()?.iter().filter(|flow| unwanted(flow)) {
            const NESTED: u16 = libc::NLA_F_NESTED as u16;
            let body = body(flow.family, &[attribute(kernel::CTA_TUPLE_ORIG | NESTED, &flow.tuple)]);
            socket.send("deleting a flow", &message(kernel::IPCTNL_MSG_CT_DELETE, REQUEST, 1, &body))?;
            // It may have ended by itself.
            if let Some(refusal) = socket.refusals()?.iter().find(|refusal| refusal.errno != libc::ENOENT) {
                return Err(socket.error("deleting a flow", refusal));
            }
        }
        Ok(())
    }
}

fn read(family: u8, flow: &Attributes) -> Option<Flow> {
    let (original, protocol) = ends(&flow.nested(kernel::CTA_TUPLE_ORIG))?;
    let (reply, _) = ends(&flow.nested(kernel::CTA_TUPLE_REPLY))?;
    Some(Flow { protocol, original, reply, family, tuple: flow.bytes(kernel::CTA_TUPLE_ORIG)?.to_owned() })
}

fn ends(tuple: &Attributes) -> Option<((SocketAddr, SocketAddr), u8)> {
    let (ip, transport) = (tuple.nested(kernel::CTA_TUPLE_IP), tuple.nested(kernel::CTA_TUPLE_PROTO));
    let address = |v4: u16, v6: u16| {
        let four = ip.bytes(v4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from);
        four.or_else(|| ip.bytes(v6).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from))
    };
    let port = |kind| transport.bytes(kind).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
    let source =
        SocketAddr::new(address(kernel::CTA_IP_V4_SRC, kernel::CTA_IP_V6_SRC)?, port(kernel::CTA_PROTO_SRC_PORT));
    let destination =
        SocketAddr::new(address(kernel::CTA_IP_V4_DST, kernel::CTA_IP_V6_DST)?, port(kernel::CTA_PROTO_DST_PORT));
    Some(((source, destination), transport.bytes(kernel::CTA_PROTO_NUM)?.first().copied()?))
}

#[cfg(test)]
mod tests;
