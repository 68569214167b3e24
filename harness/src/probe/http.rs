//! HTTP requests.

use std::{io, net::TcpStream, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_LENGTH, HOST},
};
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::{sync::Mutex, task::JoinHandle, time::timeout};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Carries, Journey, Probe, Watch,
        endpoint::{Endpoint, Origin, Tool, from_where},
        outcome::{Heard, Outcome, start_of},
        tcp::{Connection, connect},
        traffic::{self, Again},
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
            method: "GET".into(),
            path: "/".into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(2).mul_f64(time_scale()).min(Duration::from_secs(10)),
        }
    }
}

/// One HTTP request over a connection of its own; made by [`Namespace::http`]. Yields [`Heard::Status`], [`Heard::Mute`], or what
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
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    /// How long a whole answer may take.
    timeout: Duration,
}

from_where!(Http, port);

impl Http {
    /// `GET /`, which is what is asked anyway: for the reader.
    pub fn get(self) -> Self {
        self.method("GET").body([])
    }

    /// `POST`, with this body.
    pub fn post(self, body: impl Into<Vec<u8>>) -> Self {
        self.method("POST").body(body)
    }

    /// `PUT`, with this body.
    pub fn put(self, body: impl Into<Vec<u8>>) -> Self {
        self.method("PUT").body(body)
    }

    /// `DELETE`.
    pub fn delete(self) -> Self {
        self.method("DELETE").body([])
    }

    /// Any other method, which is sent as it is written: `PATCH`, `HEAD`.
    pub fn method(mut self, name: impl Into<String>) -> Self {
        self.method = name.into();
        self
    }

    /// The request's body, of whatever method.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Bytes::from(body.into());
        self
    }

    /// How long each look waits for the whole answer, instead of 2 s (times the [`time_scale`], at most 10 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
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
        let method = match self.method.as_str() {
            "GET" if self.body.is_empty() => None,
            // With -X curl would wait for a body, but with one of its own it takes no -I.
            "HEAD" if self.body.is_empty() => Some(" -I".into()),
            method => Some(format!(" -X {method}")),
        };
        let headers = self.headers.iter().map(|(name, value)| format!(" -H '{name}: {value}'"));
        let body = (!self.body.is_empty()).then(|| {
            // curl calls what it sends a form, unless it is told otherwise.
            let is_told = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let form = if is_told { "" } else { " -H 'Content-Type:'" };
            format!("{form} --data-raw {}", start_of(&String::from_utf8_lossy(&self.body)))
        });
        let asked: String = method.into_iter().chain(headers).chain(body).collect();
        let (options, said) = self.origin.typed(Tool::Curl, self.to.address().is_ipv6());
        format!("{}: curl{asked}{options} http://{}{}{said}", self.namespace.name(), self.to.address(), self.path)
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

    fn came_back(&self, seen: &Outcome) -> Option<bool> {
        seen.came_back()
    }

    fn control<M>(&self, seen: &Outcome, _matches: &M) -> Result<Option<String>> {
        traffic::why_absent(&self.to.target, seen)
    }

    /// What changes something at the server is not asked again: a connection goes the same way.
    fn retrace(&self, deadline: Deadline) {
        if self.is_safe() {
            drop(self.look(deadline));
        } else {
            drop(connect(&self.namespace, &self.origin, &self.to));
        }
    }

    fn journey(&self) -> Option<Journey> {
        Some(self.origin.journey(&self.namespace, &self.to.target, Carries::Tcp(self.to.port)))
    }
}

impl Http {
    /// Makes the connection now, and keeps it for every look: whether it survives what happens meanwhile.
    ///
    /// A connection that cannot be made is an error here.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("pair")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// let server = netns2.serve_http((netns2, 80))?;
    /// let open = netns1.http((netns2, 80)).connect()?;
    /// // ... what must not break it ...
    /// expect!(open, Status { code: 200, .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
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
        let outcome = ask(&mut sender, request, self.timeout).await;
        drop(driver);
        Ok(outcome)
    }

    fn request(&self) -> Result<Asked> {
        let start = Request::builder().method(self.method.as_str()).uri(&self.path);
        let mut headed = self.headers.iter().fold(start, |request, (name, value)| request.header(name, value));
        if self.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case(HOST.as_str())) {
            headed = headed.header(HOST, self.to.address().to_string());
        }
        // Of an empty body it says nothing by itself, and a server may insist (411).
        if matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") && self.body.is_empty() {
            headed = headed.header(CONTENT_LENGTH, 0);
        }
        let wrong = |error| Error::Usage(format!("{} cannot be asked: {error}", self.describe()));
        headed.body(Full::new(self.body.clone())).map_err(wrong)
    }

    /// Whether asking changes nothing at the server: RFC 9110, section 9.2.1.
    fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    fn error(&self, error: io::Error) -> Error {
        Error::kernel(format!("asking http://{}{}", self.to.address(), self.path), self.namespace.name(), error)
    }
}

/// Asks over a connection.
async fn ask(sender: &mut Sender, request: Asked, limit: Duration) -> Outcome {
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
        Err(_) => Outcome { heard: Heard::Mute, note: Some(format!("within {} ms", limit.as_millis())) },
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
/// the connection is gone, or [`Heard::Mute`].
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
        Ok(runtime::block_on(async { ask(&mut *self.sender.lock().await, request, self.http.timeout).await }))
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

    fn came_back(&self, seen: &Outcome) -> Option<bool> {
        self.http.came_back(seen)
    }

    fn retrace(&self, deadline: Deadline) {
        if self.http.is_safe() {
            drop(self.look(deadline));
        } else {
            self.http.retrace(deadline);
        }
    }

    fn journey(&self) -> Option<Journey> {
        self.http.journey()
    }
}

#[cfg(test)]
mod tests;
