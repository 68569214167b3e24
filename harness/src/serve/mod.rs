//! Test servers: they answer with what they saw of the client, and who they are.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use socket2::{Domain, Socket, Type};
use tokio::{runtime, sync::oneshot};

use crate::{Error, Namespace, Result, probe::endpoint::Endpoint};

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
    socket: Socket,
    /// A thread of its own, with a runtime of its own: once it has ended, every socket of the server's is closed.
    thread: Option<JoinHandle<()>>,
    /// Hanging up ends it.
    stop: Option<oneshot::Sender<()>>,
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
        // The next server may want the same port: it is free once this returns.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // A process that is just being started has a copy of the socket until it closes it: so that the port is free all
        // the same, the socket listens no more, and others may have the address, whoever has it still open.
        let _ = self.socket.set_reuse_address(true);
        let _ = self.socket.shutdown(Shutdown::Both);
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
    serve: impl FnOnce(Socket, String, Clients) -> io::Result<F> + Send + 'static,
) -> Result<Server>
where
    F: Future<Output = ()> + 'static,
{
    let failed = |error| Error::kernel(format!("serving {what} at {at}"), namespace.name(), error);
    let socket = namespace.run(|| bound(kind, at.address()))?.map_err(failed)?;
    let kept = socket.try_clone().map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?.as_socket().expect("it was bound to an IP address");
    let (name, clients) = (namespace.name().to_owned(), Clients::default());
    let (stop, stopped) = oneshot::channel();
    let (tell, started) = mpsc::channel();
    let start = {
        let (name, clients) = (name.clone(), clients.clone());
        move || serve(socket, name, clients)
    };
    let thread = thread::Builder::new().name("netproof-server".into()).spawn(move || run(start, &tell, stopped));
    let thread = thread.map_err(failed)?;
    let is_serving = started.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
    is_serving.map_err(failed)?;
    Ok(Server { what, name, address, clients, socket: kept, thread: Some(thread), stop: Some(stop) })
}

/// Serves until told to stop.
fn run<F: Future<Output = ()>>(
    start: impl FnOnce() -> io::Result<F>,
    tell: &mpsc::Sender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let started = runtime.and_then(|runtime| {
        let serving = {
            let _context = runtime.enter();
            start()?
        };
        Ok((runtime, serving))
    });
    match started {
        Err(error) => {
            let _ = tell.send(Err(error));
        }
        Ok((runtime, serving)) => {
            let _ = tell.send(Ok(()));
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        }
    }
}

fn bound(kind: Type, at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind.nonblocking(), None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
        // An address that is still tentative can be served: the claim shows when it can be reached.
        socket.set_freebind_v6(true)?;
    }
    // The address may have connections in TIME_WAIT from a server before, or a socket that is just being closed.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    if kind == Type::STREAM {
        socket.listen(128)?;
    } else {
        // Nobody else may have it as long as it serves.
        socket.set_reuse_address(false)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::probe::testing::{look, pair};

    /// The port is free though somebody has a copy of the socket, as a process has that is just being started; and as long
    /// as the server serves, it is not.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_copy_does_not_keep_the_port() {
        let (a, b) = pair();
        let at = (Ipv4Addr::new(10, 0, 0, 2), 7001);
        let (http, udp) = (b.serve_http(at).unwrap(), b.serve_udp(at).unwrap());
        assert!(b.serve_http(at).is_err());
        assert!(b.serve_udp(at).is_err());
        let copies = [&http, &udp].map(|server| server.socket.try_clone().unwrap());
        drop((http, udp));
        let _again = (b.serve_http(at).unwrap(), b.serve_udp(at).unwrap());
        assert!(look(&a.http(at).get()).answered());
        assert!(look(&a.udp_to(at)).answered());
        drop(copies);
    }

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
