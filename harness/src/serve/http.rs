//! A test server for HTTP.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::Type;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use crate::{
    Namespace, Result,
    probe::{
        endpoint::Endpoint,
        http::{CLIENT, SERVER},
    },
    serve::{Clients, Server, start},
};

impl Namespace {
    /// Serves HTTP/1.1 at one address and port, and listens when this returns.
    ///
    /// `/` answers `netns1 saw 192.0.2.1 port 41234`, and says the same in the headers `x-netproof-server` and
    /// `x-netproof-client`; `/bytes/N` answers with N bytes.
    ///
    /// ```no_run
    /// # use netproof::{Deadline, Namespace, Probe};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// # let node = Namespace::new("node")?;
    /// let server = node.serve_http((Ipv4Addr::LOCALHOST, 80))?;
    /// node.http((Ipv4Addr::LOCALHOST, 80)).get().look(Deadline::after(Duration::from_secs(1)))?;
    /// assert_eq!(server.requests(), 1);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn serve_http(&self, at: impl Into<Endpoint>) -> Result<Server> {
        start(self, "HTTP", (Type::STREAM, at.into()), |socket, name, clients| {
            Ok(accept(TcpListener::from_std(socket.into())?, name, clients))
        })
    }
}

async fn accept(listener: TcpListener, name: String, clients: Clients) {
    // They end when this does.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, client)) = listener.accept().await else {
            // Out of descriptors, most likely: others must close some first.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (name, clients) = (name.clone(), clients.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                clients.note(client);
                let response = answer(&request, client, &name);
                async { Ok::<_, Infallible>(response) }
            });
            // A client that goes away in the middle is no fault of the server's.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer<B>(request: &Request<B>, client: SocketAddr, name: &str) -> Response<Full<Bytes>> {
    const MOST: usize = 16 << 20;
    let (ip, port) = (client.ip().to_canonical(), client.port());
    let (status, body) = match request.uri().path().strip_prefix("/bytes/").map(str::parse::<usize>) {
        None => (StatusCode::OK, Bytes::from(format!("{name} saw {ip} port {port}\n"))),
        Some(Ok(length @ 0..=MOST)) => (StatusCode::OK, Bytes::from(vec![b'.'; length])),
        Some(_) => (StatusCode::BAD_REQUEST, Bytes::from_static(b"/bytes/N, with N at most 16777216\n")),
    };
    let response = Response::builder().status(status).header(SERVER, name).header(CLIENT, ip.to_string());
    // A namespace may be named as no header can be.
    response.body(Full::new(body)).unwrap_or_else(|_| Response::new(Full::default()))
}
