//! Test servers: they answer with what they saw of the client, and who they are.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;

use crate::{Deadline, Error, Namespace, Result, probe::endpoint::Endpoint, runtime::runtime};

mod dns;
mod http;
mod udp;

/// A test server inside a namespace; serves as long as it is kept.
///
/// Made by [`Namespace::serve_http`], [`Namespace::serve_udp`] and [`Namespace::serve_dns`]. It has one address, never
/// all of them: a server at 0.0.0.0 answers UDP from whichever address the route back has.
#[must_use = "a server that is dropped no longer serves"]
pub struct Server {
    what: &'static str,
    name: String,
    address: SocketAddr,
    clients: Clients,
    task: JoinHandle<()>,
    /// Hangs up once the task has let go of its socket.
    serving: Mutex<Receiver<()>>,
}

impl Server {
    /// Where it serves; with the port that it got where it was made with port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it calls itself in answers: its namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.clients.all().len()
    }

    /// Who made them, in their order, as it saw them.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.clients.all()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // The next server may want the same port: it is free once this returns.
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = serving.recv_timeout(Deadline::after(Duration::from_secs(10)).left());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} at {} in {})", self.what, self.address, self.name)
    }
}

/// Who has asked.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<Vec<SocketAddr>>>);

impl Clients {
    fn note(&self, client: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    fn all(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts a server: `serve` is given the socket, which is bound inside the namespace (and listens, where it is TCP).
fn start<F>(
    namespace: &Namespace,
    what: &'static str,
    (kind, at): (Type, Endpoint),
    serve: impl FnOnce(Socket, String, Clients) -> io::Result<F>,
) -> Result<Server>
where
    F: Future<Output = ()> + Send + 'static,
{
    let failed = |error| Error::kernel(format!("serving {what} at {at}"), namespace.name(), error);
    let socket = namespace.run(|| bound(kind, at.address()))?.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?.as_socket().expect("it was bound to an IP address");
    let (name, clients) = (namespace.name().to_owned(), Clients::default());
    let _context = runtime().enter();
    let serving = serve(socket, name.clone(), clients.clone()).map_err(failed)?;
    let (held, released) = mpsc::channel();
    // In this order: the socket, which `serving` has, goes before what tells that it has gone.
    let both = (serving, held);
    let task = runtime().spawn(async move {
        let (serving, _held) = both;
        serving.await;
    });
    Ok(Server { what, name, address, clients, task, serving: Mutex::new(released) })
}

fn bound(kind: Type, at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind.nonblocking(), None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
        // An address that is still tentative can be served: the claim shows when it can be reached.
        socket.set_freebind_v6(true)?;
    }
    if kind == Type::STREAM {
        // The address may have connections in TIME_WAIT from a server before.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    if kind == Type::STREAM {
        socket.listen(128)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::probe::testing::{look, pair};

    /// A port is free as soon as its server was dropped, whether it had been asked or not.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_dropped_servers_port_is_free() {
        let (a, b) = pair();
        let at = (Ipv4Addr::new(10, 0, 0, 2), 7000);
        for round in 0..50 {
            let _http = b.serve_http(at).unwrap();
            let _udp = b.serve_udp(at).unwrap();
            if round % 10 == 0 {
                assert!(look(&a.http(at).get()).answered());
                assert!(look(&a.udp_to(at)).answered());
            }
        }
    }
}
