//! HTTP requests.

use std::{net::TcpStream, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::time::timeout;

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Probe, Watch,
        endpoint::{Endpoint, Origin},
        outcome::{Heard, Outcome},
        tcp::{Connection, connect, from_where},
        traffic::Again,
    },
    runtime, time_scale,
};

/// In a test server's answers: who it is.
pub(crate) const SERVER: &str = "x-netproof-server";
/// In a test server's answers: the client's address as it saw it.
pub(crate) const CLIENT: &str = "x-netproof-client";

impl Namespace {
    /// An HTTP/1.1 request to a port: `host.http((&node, 80)).get()`. Equivalent to `curl`.
    pub fn http(&self, to: impl Into<Endpoint>) -> Http {
        Http { namespace: self.clone(), to: to.into(), origin: Origin::default(), path: "/".into() }
    }
}

/// One HTTP request over a connection of its own; made by [`Namespace::http`]. Yields [`Heard::Status`], or what
/// [`Tcp`](crate::probe::tcp::Tcp) yields where there is no connection.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `look` or `expect!`"]
pub struct Http {
    namespace: Namespace,
    to: Endpoint,
    origin: Origin,
    path: String,
}

from_where!(Http);

impl Http {
    /// `GET /`, which is what is asked anyway: for the reader.
    pub fn get(self) -> Self {
        self
    }

    /// Asks for this path instead of `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Asks a test server for a body of so many bytes: a path MTU that is too small shows with large answers only.
    pub fn body_of(self, bytes: usize) -> Self {
        self.path(format!("/bytes/{bytes}"))
    }
}

impl Probe for Http {
    type Output = Outcome;

    fn describe(&self) -> String {
        format!("{}: curl{}http://{}{}", self.namespace.name(), self.origin, self.to.address(), self.path)
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        match connect(&self.namespace, &self.origin, &self.to)? {
            Connection::Made(socket) => runtime::block_on(self.request(socket)),
            Connection::Not(outcome) => Ok(outcome),
        }
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Again))
    }

    fn concerned(&self) -> Vec<Namespace> {
        std::iter::once(&self.namespace).chain(&self.to.target.namespace).cloned().collect()
    }
}

impl Http {
    async fn request(&self, socket: Socket) -> Result<Outcome> {
        // A server that is slow must not look like one that is cut off.
        let limit = Duration::from_secs(2).mul_f64(time_scale()).min(Duration::from_secs(10));
        let stream = tokio::net::TcpStream::from_std(TcpStream::from(socket));
        let doing = || format!("asking http://{}{}", self.to.address(), self.path);
        let stream = stream.map_err(|error| Error::kernel(doing(), self.namespace.name(), error))?;
        Ok(match timeout(limit, self.exchange(stream)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome { heard: Heard::Reset, note: Some(error.to_string()) },
            Err(_) => {
                let note = format!("connected, but no whole answer within {} ms", limit.as_millis());
                Outcome { heard: Heard::TimedOut, note: Some(note) }
            }
        })
    }

    async fn exchange(&self, stream: tokio::net::TcpStream) -> hyper::Result<Outcome> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::get(&self.path).header(HOST, self.to.address().to_string()).body(Empty::<Bytes>::new());
        let Ok(request) = request else {
            driver.abort();
            return Ok(Outcome { heard: Heard::Reset, note: Some(format!("`{}` is no path", self.path)) });
        };
        let answered = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            body.collect().await?;
            Ok(head)
        };
        let head = answered.await;
        driver.abort();
        head.map(|head| {
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
            Heard::Status { code: head.status.as_u16(), client: header(CLIENT), server: header(SERVER) }.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        Seen,
        probe::testing::{look, pair},
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// The server tells whom it saw, over both IP versions; large bodies arrive whole; a dropped server refuses.
    #[test]
    fn the_server_tells_whom_it_saw() {
        let (a, b) = pair();
        let server = b.serve_http((TWO, 80)).unwrap();
        let outcome = look(&a.http((TWO, 80)).get());
        assert!(matches!(outcome.seen(), Heard::Status { code: 200, client: "10.0.0.1", server: "b" }), "{outcome}");
        let outcome = look(&a.http((TWO, 80)).body_of(1 << 20));
        assert!(matches!(outcome.seen(), Heard::Status { code: 200, .. }), "{outcome}");
        let outcome = look(&a.http((TWO, 80)).path("/bytes/x"));
        assert!(matches!(outcome.seen(), Heard::Status { code: 400, .. }), "{outcome}");
        assert_eq!(server.requests(), 3);
        assert!(server.clients().iter().all(|client| client.ip() == Ipv4Addr::new(10, 0, 0, 1)));

        let two: IpAddr = "fd00::2".parse().unwrap();
        let _v6 = b.serve_http((two, 80)).unwrap();
        let outcome = look(&a.http((two, 80)).get());
        assert!(matches!(outcome.seen(), Heard::Status { code: 200, client: "fd00::1", .. }), "{outcome}");

        drop(server);
        let deadline = Deadline::after(Duration::from_secs(5));
        while look(&a.http((TWO, 80)).get()).heard != Heard::Refused {
            assert!(!deadline.passed(), "the dropped server still serves");
        }
    }

    /// A server that accepts and says nothing is told from one that is not reached.
    #[test]
    fn a_mute_server_is_a_time_out_with_a_note() {
        let (a, b) = pair();
        let _mute = b.run(|| std::net::TcpListener::bind((TWO, 80)).unwrap()).unwrap();
        let outcome = look(&a.http((TWO, 80)).get());
        assert!(matches!(outcome.seen(), Heard::TimedOut), "{outcome}");
        assert!(outcome.to_string().contains("connected, but"), "{outcome}");
    }
}
