//! A network namespace: a descriptor, a way in, and a way to run code inside.

use std::{
    fmt,
    fs::File,
    future::Future,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{runtime, task::JoinHandle};

use crate::{
    error::{Error, Result},
    labels::Labels,
    netlink::Connection,
    sysctl::Sysctl,
};

/// A network namespace, held by a descriptor: it lives as long as a clone of this does, and has no name on the machine.
///
/// ```no_run
/// let namespace = netproof::Namespace::new("netns1")?;
/// let links = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    fd: OwnedFd,
    connection: OnceLock<Mutex<Connection>>,
    runtime: OnceLock<runtime::Runtime>,
}

impl Namespace {
    /// A fresh namespace, with nothing in it but a loopback device that is down. `name` is for messages only.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let made = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            current()
        });
        let fd = made.map_err(|error| Error::kernel("unsharing a network namespace", &name, error))?;
        Ok(Self::from_fd(name, fd))
    }

    /// Fresh namespaces of these names, each with its netlink connection open and these sysctls set: what a lab needs
    /// at once, and what would cost a thread each otherwise. Two threads share the work, which the kernel does side
    /// by side: making a namespace and its sysctls is two thirds of a small lab's time.
    pub(crate) fn fresh(names: &[&str], sysctls: &[Sysctl]) -> Result<Vec<Self>> {
        let (some, others) = names.split_at(names.len() / 2);
        let make = |names: &[&str]| {
            on_a_thread(|| Ok(names.iter().map(|name| Self::fresh_here(name, sysctls)).collect::<Result<Vec<Self>>>()))
                .map_err(|error| Error::kernel("starting a thread", "the machine", error))?
        };
        if some.is_empty() {
            return make(others);
        }
        let labels = Labels::current();
        thread::scope(|scope| {
            let some = scope.spawn(|| labels.during(|| make(some)));
            let others = make(others);
            let mut all = some.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.extend(others?);
            Ok(all)
        })
    }

    /// Leaves the calling thread in the new namespace.
    fn fresh_here(name: &str, sysctls: &[Sysctl]) -> Result<Self> {
        let failed = |doing: String, error| Error::kernel(doing, name, error);
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| failed("unsharing a network namespace".into(), error.into()))?;
        let fd = current().map_err(|error| failed("opening it".into(), error))?;
        crate::sysctl::set_here(sysctls)
            .map_err(|(sysctl, error)| failed(format!("setting sysctl {sysctl}"), error))?;
        let namespace = Self::from_fd(name, fd);
        let opened = namespace.connect_here();
        opened.map_err(|error| failed("opening rtnetlink".into(), error))?;
        Ok(namespace)
    }

    /// Opens the rtnetlink connection from a thread that is inside.
    fn connect_here(&self) -> io::Result<()> {
        // Where another thread was faster, this one is spare.
        let _ = self.inner.connection.set(Mutex::new(Connection::open()?));
        Ok(())
    }

    /// The namespace that `fd` refers to.
    pub fn from_fd(name: impl Into<String>, fd: OwnedFd) -> Self {
        let inner = Inner { name: name.into(), fd, connection: OnceLock::new(), runtime: OnceLock::new() };
        let inner = Arc::new(inner);
        remember(&inner);
        Self { inner }
    }

    /// Every namespace that this process holds: an explanation finds in them the far ends of veth pairs.
    pub(crate) fn held() -> Vec<Self> {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter_map(Weak::upgrade).map(|inner| Self { inner }).collect()
    }

    /// The lab's name for it: `host`, `netns1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs `code` on a thread that is inside, and waits for it.
    ///
    /// Sockets that it opens stay in the namespace, whichever thread uses them later.
    pub fn run<T: Send>(&self, code: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread(|| {
            setns(self, CloneFlags::CLONE_NEWNET)?;
            Ok(code())
        })
        .map_err(|error| Error::kernel("entering", self.name(), error))
    }

    /// A socket opened inside. Equivalent to `socket(2)`, close-on-exec.
    pub fn socket(&self, domain: Domain, kind: Type, protocol: Option<Protocol>) -> Result<Socket> {
        self.run(|| Socket::new(domain, kind, protocol))?
            .map_err(|error| Error::kernel(format!("opening a {domain:?} {kind:?} socket"), self.name(), error))
    }

    /// Runs async code on a runtime whose threads are inside: sockets that it opens are in this namespace.
    ///
    /// ```no_run
    /// # let node = netproof::Namespace::new("node")?;
    /// // A daemon of one's own, written with tokio, that listens in the namespace.
    /// let daemon = node.spawn(async {
    ///     let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    ///     listener.accept().await
    /// })?;
    /// daemon.abort();
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn spawn<F>(&self, future: F) -> Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.inner.runtime.get().is_none() {
            let fd = self.inner.fd.try_clone();
            let fd = fd.map_err(|error| Error::kernel("copying a namespace's descriptor", self.name(), error))?;
            let made = self.run(|| runtime_inside(fd))?;
            let made = made.map_err(|error| Error::kernel("starting a runtime", self.name(), error))?;
            if let Err(spare) = self.inner.runtime.set(made) {
                spare.shutdown_background();
            }
        }
        let runtime = self.inner.runtime.get().expect("set just above");
        Ok(runtime.spawn(future))
    }

    /// The namespace's rtnetlink connection, opened at its first use, for one user at a time.
    pub(crate) fn connection(&self) -> Result<MutexGuard<'_, Connection>> {
        if self.inner.connection.get().is_none() {
            let opened = self.run(|| self.connect_here())?;
            opened.map_err(|error| Error::kernel("opening rtnetlink", self.name(), error))?;
        }
        let connection = self.inner.connection.get().expect("set just above");
        Ok(connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether both are the same namespace of the kernel's.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        Ok(self.identity()? == other.identity()?)
    }

    /// What the kernel tells namespaces apart by: device and inode number.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = nix::sys::stat::fstat(self)?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({} at {})", self.name(), self.inner.fd.as_raw_fd())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

static HELD: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

fn remember(inner: &Arc<Inner>) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.len() == held.capacity() {
        held.retain(|inner| inner.strong_count() > 0);
    }
    held.push(Arc::downgrade(inner));
}

/// The calling thread's own network namespace. `/proc/self/ns` would be the main thread's.
pub(crate) fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Runs `code` on a thread of its own, so that what it enters, no other code is in.
pub(crate) fn on_a_thread<T: Send>(code: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let labels = Labels::current();
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netproof-inside".into());
        let thread = thread.spawn_scoped(scope, || labels.during(code))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn runtime_inside(fd: OwnedFd) -> io::Result<runtime::Runtime> {
    runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("netproof-inside")
        .on_thread_start(move || {
            setns(&fd, CloneFlags::CLONE_NEWNET).expect("a namespace once entered can be entered again")
        })
        .enable_all()
        .build()
}
