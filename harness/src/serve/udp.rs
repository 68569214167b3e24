//! A test server for UDP.

use socket2::Type;
use tokio::net::UdpSocket;

use crate::{
    Namespace, Result,
    probe::{endpoint::Endpoint, udp::answer_to},
    serve::{Server, start},
};

impl Namespace {
    /// Serves UDP at one address and port: echoes each datagram, with ` CLIENT PORT SERVER` added.
    pub fn serve_udp(&self, at: impl Into<Endpoint>) -> Result<Server> {
        start(self, "UDP", (Type::DGRAM, at.into()), |socket, name, clients| {
            let socket = UdpSocket::from_std(socket.into())?;
            Ok(async move {
                let mut buffer = vec![0; 65_536];
                loop {
                    // An error here is an earlier answer's, whose client has gone.
                    let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
                    clients.note(client);
                    let _ = socket.send_to(&answer_to(&buffer[..length], client, &name), client).await;
                }
            })
        })
    }
}
