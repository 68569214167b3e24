//! A test server for DNS.

use std::net::IpAddr;

use simple_dns::{
    CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, RData},
};
use socket2::Type;
use tokio::net::UdpSocket;

use crate::{
    Namespace, Result,
    probe::endpoint::Endpoint,
    serve::{Server, start},
};

/// How long an answer may be kept, in seconds: not at all, so that each question is seen.
const TTL: u32 = 0;

impl Namespace {
    /// Serves DNS over UDP at one address and port: knows these names' addresses, and no others (NXDOMAIN).
    ///
    /// ```no_run
    /// use std::net::IpAddr;
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway-one-subnet")?;
    /// let outside = lab.outside();
    /// let address: IpAddr = "198.51.100.7".parse().unwrap();
    /// let server = outside.serve_dns((outside, 53), [("www.test", address)])?;
    /// expect!(lab.node("netns1").lookup("www.test").server(outside), Address("198.51.100.7"));
    /// expect!(lab.node("netns1").lookup("no.test").server(outside), NoSuchName);
    /// assert!(!server.clients().is_empty());
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn serve_dns<N: Into<String>>(
        &self,
        at: impl Into<Endpoint>,
        names: impl IntoIterator<Item = (N, IpAddr)>,
    ) -> Result<Server> {
        let names: Vec<(String, IpAddr)> = names.into_iter().map(|(name, address)| (name.into(), address)).collect();
        start(self, "DNS", (Type::DGRAM, at.into()), move |socket, _, clients| {
            let socket = UdpSocket::from_std(socket.into())?;
            Ok(async move {
                let mut buffer = vec![0; 4096];
                loop {
                    // An error here is an earlier answer's, whose client has gone.
                    let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
                    clients.note(client);
                    if let Some(answer) = answer(&buffer[..length], &names) {
                        let _ = socket.send_to(&answer, client).await;
                    }
                }
            })
        })
    }
}

/// The answer to a query; none to what is no query.
fn answer(query: &[u8], names: &[(String, IpAddr)]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok().filter(|packet| !packet.has_flags(PacketFlag::RESPONSE))?;
    let question = query.questions.first()?;
    let asked = question.qname.to_string();
    let known = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(&asked);
    let addresses = names.iter().filter(|(name, _)| known(name)).map(|(_, address)| *address);

    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    if addresses.clone().next().is_none() {
        *reply.rcode_mut() = RCODE::NameError;
    }
    for address in addresses {
        let data = match (address, question.qtype) {
            (IpAddr::V4(v4), QTYPE::TYPE(TYPE::A) | QTYPE::ANY) => RData::A(A::from(v4)),
            (IpAddr::V6(v6), QTYPE::TYPE(TYPE::AAAA) | QTYPE::ANY) => RData::AAAA(AAAA::from(v6)),
            _ => continue,
        };
        reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
    }
    reply.questions.push(question.clone());
    reply.build_bytes_vec().ok()
}
