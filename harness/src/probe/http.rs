//! HTTP requests.

use std::{io, net::TcpStream, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, body::Bytes, client::conn::http1, header::HOST};
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
        Http {
            namespace: self.clone(),
            to: to.into(),
            origin: Origin::default(),
            method: Method::GET,
            path: "/".into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }
}

/// One HTTP request over a connection of its own; made by [`Namespace::http`]. Yields [`Heard::Status`], or what
/// [`Tcp`](crate::probe::tcp::Tcp) yields where there is no connection.
///
/// Every look asks anew; of a request that changes something at the server, an answer that the pattern does not match ends
/// the looks ([`Probe::last_word`]), and a connection that cannot be made, or that ends without an answer, does not.
///
/// ```no_run
/// use netproof::{Lab, expect};
/// let lab = Lab::of("gateway")?;
/// let (host, netns1) = (lab.host(), lab.node("netns1"));
/// let request = netns1.http((host, 8080)).post(r#"{"name": "net1"}"#).path("/networks").header("Authorization", "Bearer x");
/// expect!(request, Status { code: 201, headers, .. } if headers.contains("location: /networks/net1\n"));
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `look` or `expect!`"]
pub struct Http {
    namespace: Namespace,
    to: Endpoint,
    origin: Origin,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

from_where!(Http);

impl Http {
    /// `GET /`, which is what is asked anyway: for the reader.
    pub fn get(self) -> Self {
        self.asking(Method::GET, Vec::new())
    }

    /// `POST`, with this body.
    pub fn post(self, body: impl Into<Vec<u8>>) -> Self {
        self.asking(Method::POST, body.into())
    }

    /// `PUT`, with this body.
    pub fn put(self, body: impl Into<Vec<u8>>) -> Self {
        self.asking(Method::PUT, body.into())
    }

    /// `DELETE`.
    pub fn delete(self) -> Self {
        self.asking(Method::DELETE, Vec::new())
    }

    fn asking(self, method: Method, body: Vec<u8>) -> Self {
        Self { method, body: body.into(), ..self }
    }

    /// A header. `Host` is the address where it is not given here, `Content-Length` the body's.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
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
        let method = (self.method != Method::GET).then(|| format!(" -X {}", self.method));
        let headers = self.headers.iter().map(|(name, value)| format!(" -H '{name}: {value}'"));
        let body = (!self.body.is_empty()).then(|| format!(" -d '{}'", String::from_utf8_lossy(&self.body)));
        let asked: String = method.into_iter().chain(headers).chain(body).collect();
        format!("{}: curl{asked}{}http://{}{}", self.namespace.name(), self.origin, self.to.address(), self.path)
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        let request = self.request()?;
        match connect(&self.namespace, &self.origin, &self.to)? {
            Connection::Made(socket) => runtime::block_on(self.ask_over(socket, request)),
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

    async fn ask_over(&self, socket: Socket, request: Asked) -> Result<Outcome> {
        let (mut sender, driver) = handshake(socket).await.map_err(|error| self.error(error))?;
        let outcome = ask(&mut sender, request).await;
        drop(driver);
        Ok(outcome)
    }

    fn request(&self) -> Result<Asked> {
        let start = Request::builder().method(&self.method).uri(&self.path);
        let mut headed = self.headers.iter().fold(start, |request, (name, value)| request.header(name, value));
        if self.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case(HOST.as_str())) {
            headed = headed.header(HOST, self.to.address().to_string());
        }
        let wrong = |error| Error::Usage(format!("{} cannot be asked: {error}", self.describe()));
        headed.body(Full::new(self.body.clone())).map_err(wrong)
    }

    fn error(&self, error: io::Error) -> Error {
        Error::kernel(format!("asking http://{}{}", self.to.address(), self.path), self.namespace.name(), error)
    }
}

/// Asks over a connection.
async fn ask(sender: &mut Sender, request: Asked) -> Outcome {
    // A server that is slow must not look like one that is cut off.
    let limit = Duration::from_secs(2).mul_f64(time_scale()).min(Duration::from_secs(10));
    let answered = async {
        // An earlier answer on this connection may not have been put away yet.
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
    };
    match timeout(limit, answered).await {
        Ok(Ok((head, body))) => {
            const KEPT: usize = 1 << 16;
            let body = String::from_utf8_lossy(&body[..body.len().min(KEPT)]).into_owned();
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
            let (client, server, headers) = (header(CLIENT), header(SERVER), lines(&head.headers));
            Heard::Status { code: head.status.as_u16(), client, server, headers, body }.into()
        }
        Ok(Err(error)) => Outcome { heard: Heard::Reset, note: Some(error.to_string()) },
        Err(_) => {
            let note = format!("connected, but no whole answer within {} ms", limit.as_millis());
            Outcome { heard: Heard::TimedOut, note: Some(note) }
        }
    }
}

/// One a line.
fn lines(headers: &HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))).collect()
}

type Asked = Request<Full<Bytes>>;
type Sender = http1::SendRequest<Full<Bytes>>;

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
        let request = self.http.request()?;
        Ok(runtime::block_on(async { ask(&mut *self.sender.lock().await, request).await }))
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
    use std::{
        io::{Read, Write},
        net::{IpAddr, Ipv4Addr},
    };

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
        let Heard::Status { code: 200, client: "10.0.0.1", server: "b", body, .. } = outcome.seen() else {
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

    /// A request goes out with its method, headers and body, and the answer's headers are seen.
    #[test]
    fn a_request_has_a_method_headers_and_a_body() {
        let (a, b) = pair();
        let listener = b.run(|| std::net::TcpListener::bind((TWO, 80)).unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let (mut heard, mut buffer) = (Vec::new(), [0; 1024]);
            while !heard.ends_with(b"{}") {
                let count = client.read(&mut buffer).unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&buffer[..count]);
            }
            client.write_all(b"HTTP/1.1 201 Created\r\nLocation: /networks/net1\r\nContent-Length: 0\r\n\r\n").unwrap();
            String::from_utf8(heard).unwrap()
        });
        let request = a.http((TWO, 80)).post("{}").path("/networks").header("Authorization", "Bearer x");
        let described = "a: curl -X POST -H 'Authorization: Bearer x' -d '{}' http://10.0.0.2:80/networks";
        assert_eq!(request.describe(), described);
        let seen = look(&request);
        let Heard::Status { code: 201, headers, .. } = seen.seen() else { panic!("{seen}") };
        assert!(headers.contains("location: /networks/net1\n"), "{headers}");
        let heard = server.join().unwrap();
        assert!(heard.starts_with("POST /networks HTTP/1.1\r\n"), "{heard}");
        for line in ["authorization: Bearer x", "host: 10.0.0.2:80", "content-length: 2"] {
            assert!(heard.to_lowercase().contains(&format!("\r\n{}\r\n", line.to_lowercase())), "{heard}");
        }
        let wrong = a.http((TWO, 80)).header("no header", "").look(Deadline::after(Duration::from_secs(5)));
        assert!(wrong.unwrap_err().to_string().contains("cannot be asked: invalid HTTP header name"));
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
