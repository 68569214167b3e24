//! HTTP requests.

use std::{io, net::TcpStream, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::{sync::Mutex, task::JoinHandle, time::timeout};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Carries, Journey, Probe, Watch,
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
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        std::iter::once(&self.namespace).chain(&self.to.target.namespace).cloned().collect()
    }

    fn last_word(&self, seen: &Outcome) -> bool {
        seen.answered()
    }

    fn journey(&self) -> Option<Journey> {
        Some(self.origin.journey(&self.namespace, &self.to.target, Carries::Tcp(self.to.port)))
    }
}

impl Http {
    /// Makes the connection now, and keeps it for every look: whether it survives what happens meanwhile.
    ///
    /// A connection that cannot be made is an error here.
    pub fn connect(self) -> Result<Kept> {
        let connected = match connect(&self.namespace, &self.origin, &self.to)? {
            Connection::Made(socket) => runtime::block_on(handshake(socket)),
            Connection::Not(outcome) => Err(io::Error::other(outcome.to_string())),
        };
        let (sender, driver) = connected.map_err(|error| self.error(error))?;
        Ok(Kept { http: self, sender: Arc::new(Mutex::new(sender)), driver: Arc::new(driver) })
    }

    async fn request(&self, socket: Socket) -> Result<Outcome> {
        let (mut sender, driver) = handshake(socket).await.map_err(|error| self.error(error))?;
        let outcome = self.ask(&mut sender).await;
        drop(driver);
        outcome
    }

    /// Asks over a connection.
    async fn ask(&self, sender: &mut Sender) -> Result<Outcome> {
        // A server that is slow must not look like one that is cut off.
        let limit = Duration::from_secs(2).mul_f64(time_scale()).min(Duration::from_secs(10));
        let request = Request::get(&self.path).header(HOST, self.to.address().to_string()).body(Empty::new());
        let request = request.map_err(|_| Error::Usage(format!("`{}` is no path to ask for", self.path)))?;
        let answered = async {
            // An earlier answer on this connection may not have been put away yet.
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        Ok(match timeout(limit, answered).await {
            Ok(Ok((head, body))) => {
                const KEPT: usize = 1 << 16;
                let body = String::from_utf8_lossy(&body[..body.len().min(KEPT)]).into_owned();
                let header =
                    |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
                let (client, server) = (header(CLIENT), header(SERVER));
                Heard::Status { code: head.status.as_u16(), client, server, body }.into()
            }
            Ok(Err(error)) => Outcome { heard: Heard::Reset, note: Some(error.to_string()) },
            Err(_) => {
                let note = format!("connected, but no whole answer within {} ms", limit.as_millis());
                Outcome { heard: Heard::TimedOut, note: Some(note) }
            }
        })
    }

    fn error(&self, error: io::Error) -> Error {
        Error::kernel(format!("asking http://{}{}", self.to.address(), self.path), self.namespace.name(), error)
    }
}

type Sender = http1::SendRequest<Empty<Bytes>>;

/// The task that drives a connection, which ends with it.
struct Driver(JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn handshake(socket: Socket) -> io::Result<(Sender, Driver)> {
    let stream = tokio::net::TcpStream::from_std(TcpStream::from(socket))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    Ok((sender, Driver(tokio::spawn(connection))))
}

/// A connection that every look uses again; made by [`Http::connect`]. Yields [`Heard::Status`], [`Heard::Reset`] where
/// the connection is gone, or [`Heard::TimedOut`].
#[derive(Clone)]
#[must_use = "the connection ends when this is dropped"]
pub struct Kept {
    http: Http,
    sender: Arc<Mutex<Sender>>,
    #[expect(dead_code, reason = "held for its drop")]
    driver: Arc<Driver>,
}

impl Probe for Kept {
    type Output = Outcome;

    fn describe(&self) -> String {
        format!("{}, on a connection that was made before", self.http.describe())
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        runtime::block_on(async { self.http.ask(&mut *self.sender.lock().await).await })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        self.http.watch()
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.http.concerned()
    }

    fn last_word(&self, seen: &Outcome) -> bool {
        // A connection that is gone does not come back either.
        self.http.last_word(seen) || seen.heard == Heard::Reset
    }

    fn journey(&self) -> Option<Journey> {
        self.http.journey()
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
        let Heard::Status { code: 200, client: "10.0.0.1", server: "b", body } = outcome.seen() else {
            panic!("{outcome}")
        };
        assert!(body.starts_with("b saw 10.0.0.1 port "), "{body}");
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

    /// A connection that is kept is one to the server, and shows when it is reset.
    #[test]
    fn a_kept_connection_is_used_again() {
        let (a, b) = pair();
        let server = b.serve_http((TWO, 80)).unwrap();
        let kept = a.http((TWO, 80)).connect().unwrap();
        for _ in 0..3 {
            let outcome = look(&kept);
            assert!(matches!(outcome.seen(), Heard::Status { code: 200, .. }), "{outcome}");
        }
        let clients = server.clients();
        assert!(clients.len() == 3 && clients.iter().all(|client| *client == clients[0]), "{clients:?}");
        drop(server);
        let deadline = Deadline::after(Duration::from_secs(5));
        while look(&kept).heard != Heard::Reset {
            assert!(!deadline.passed(), "the connection outlives its server");
        }
        let error = a.http((TWO, 81)).connect().err().unwrap().to_string();
        assert!(error.contains("refused"), "{error}");
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
