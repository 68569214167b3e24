//! Requests over rtnetlink, many in one round trip.

use std::sync::MutexGuard;

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST},
    packet_route::RouteNetlinkMessage,
};

use self::connection::{Answer, Refusal};
use crate::{Error, Namespace, Result};

mod connection;

pub(crate) use self::connection::Connection;

/// How often a dump is asked for again because what it lists was being changed; the last is taken as it is, as `ip` does.
const DUMPS: usize = 20;

/// One change that the kernel is asked for; made by the functions of [`crate::link`], [`crate::addr`], [`crate::route`],
/// [`crate::neigh`] and [`crate::fdb`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until `Namespace::apply`"]
pub struct Request {
    /// What is being done.
    doing: String,
    /// The index of the device whose name `doing` ends with, or 0.
    device: u32,
    message: RouteNetlinkMessage,
    flags: u16,
    /// Whether it is as good as done where there is nothing (any more) that it could change.
    may_be_gone: bool,
    /// A namespace that the message names by descriptor, and which must live until it is sent.
    held: Option<Namespace>,
}

impl Request {
    /// Keeps `namespace`, which the message names by its descriptor, alive until the request is sent.
    pub(crate) fn holding(mut self, namespace: Namespace) -> Self {
        self.held = Some(namespace);
        self
    }

    /// Something new; it must not be there yet.
    pub(crate) fn create(doing: String, message: RouteNetlinkMessage) -> Self {
        Self::new(doing, message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Something new, or in the place of what is there.
    pub(crate) fn replace(doing: String, message: RouteNetlinkMessage) -> Self {
        Self::new(doing, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// A change to what is there, or its removal.
    pub(crate) fn change(doing: String, message: RouteNetlinkMessage) -> Self {
        Self::new(doing, message, 0)
    }

    /// Done where what it is about is gone (`ENOENT`, `ESRCH`, `ENODEV`, `EADDRNOTAVAIL`): for removals.
    pub fn may_be_gone(mut self) -> Self {
        self.may_be_gone = true;
        self
    }

    fn new(doing: String, message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { doing, device: 0, message, flags, may_be_gone: false, held: None }
    }

    /// The device with whose name ends what is being done, in the message about a refusal.
    pub(crate) fn about(mut self, index: u32) -> Self {
        self.device = index;
        self
    }
}

impl Namespace {
    /// Asks the kernel for one change.
    pub fn apply(&self, request: Request) -> Result<()> {
        self.apply_all([request])
    }

    /// Asks the kernel for changes, in their order and without waiting between them. The first error is returned;
    /// the requests after it were asked for too.
    pub fn apply_all(&self, requests: impl IntoIterator<Item = Request>) -> Result<()> {
        let requests: Vec<Request> = requests.into_iter().collect();
        let messages =
            requests.iter().map(|request| (request.message.clone(), NLM_F_REQUEST | NLM_F_ACK | request.flags));
        let answers = self.exchange("sending requests to rtnetlink", messages)?;
        for (request, answer) in requests.iter().zip(answers) {
            if let Err(refusal) = answer {
                let gone = [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL].map(Some);
                if !(request.may_be_gone && gone.contains(&refusal.error.raw_os_error())) {
                    return Err(refused(&self.said(request), self, refusal));
                }
            }
        }
        Ok(())
    }

    /// What was being done, with the device's name.
    fn said(&self, request: &Request) -> String {
        if request.device == 0 {
            return request.doing.clone();
        }
        let name = self.link_name(request.device).ok().flatten();
        let name = name.unwrap_or_else(|| format!("a device with index {}, which is not there", request.device));
        format!("{} {name}", request.doing)
    }

    /// Asks for what matches `message`: one object, or with `dump` all of its kind.
    pub(crate) fn ask(
        &self,
        doing: &str,
        message: RouteNetlinkMessage,
        dump: bool,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        if dump {
            return self.dump(doing, &message);
        }
        let answers = self.exchange(doing, [(message, NLM_F_REQUEST)])?;
        let answer = answers.into_iter().next().unwrap_or_else(|| Ok(Vec::new()));
        answer.map_err(|refusal| refused(doing, self, refusal))
    }

    /// Asks for one object with each message, all in one round trip. `None`: there is no such object (`ENODEV`, `ENOENT`).
    pub(crate) fn ask_each(
        &self,
        doing: &str,
        messages: impl IntoIterator<Item = RouteNetlinkMessage>,
    ) -> Result<Vec<Option<RouteNetlinkMessage>>> {
        let answers = self.exchange(doing, messages.into_iter().map(|message| (message, NLM_F_REQUEST)))?;
        let one = |answer| match answer {
            Ok(found) => Ok(Vec::into_iter(found).next()),
            Err(Refusal { error, .. }) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(None),
            Err(refusal) => Err(refused(doing, self, refusal)),
        };
        answers.into_iter().map(one).collect()
    }

    fn dump(&self, doing: &str, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        let mut connection = self.connection()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let dumped = connection.dump(message.clone(), NLM_F_REQUEST | NLM_F_DUMP);
            let dumped = dumped.map_err(|error| Error::kernel(doing, self.name(), error))?;
            if dumped.interrupted && tries < DUMPS {
                continue;
            }
            if dumped.interrupted {
                tracing::warn!("{doing} in namespace {}: it changes faster than it can be listed", self.name());
            }
            return dumped.answer.map_err(|refusal| refused(doing, self, refusal));
        }
    }

    fn exchange(
        &self,
        doing: &str,
        messages: impl IntoIterator<Item = (RouteNetlinkMessage, u16)>,
    ) -> Result<Vec<Answer>> {
        let mut connection: MutexGuard<'_, Connection> = self.connection()?;
        connection.exchange(messages).map_err(|error| Error::kernel(doing, self.name(), error))
    }
}

fn refused(doing: &str, namespace: &Namespace, Refusal { error, reason }: Refusal) -> Error {
    match reason {
        Some(reason) => Error::kernel(
            format!("{doing} (the kernel says: {})", reason.trim_end_matches('.')),
            namespace.name(),
            error,
        ),
        None => Error::kernel(doing, namespace.name(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{addr, link};

    /// Many threads list what one namespace has at the same time: the kernel does one dump a socket (`EBUSY`).
    #[test]
    fn dumps_side_by_side() {
        let host = Namespace::new("host").unwrap();
        let veths = (0..40).map(|n| link::Veth::new(&format!("a{n}"), &format!("b{n}")).request());
        host.apply_all(veths).unwrap();
        std::thread::scope(|scope| {
            let list = || (0..100).for_each(|_| assert_eq!(host.link_messages().unwrap().len(), 81));
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(list)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    /// Thousands of requests at once: the answers are more than a socket's buffer holds.
    #[test]
    fn thousands_at_once() {
        let host = Namespace::new("host").unwrap();
        host.apply(link::Bridge::new("br0").index(10).request()).unwrap();
        let address = |n: u16| format!("10.0.{}.{}/32", n >> 8, n & 255).parse().unwrap();
        host.apply_all((0..4000).map(|n| addr::add(10, address(n)))).unwrap();
        let is_v4 = |(_, net): &&(u32, ipnet::IpNet)| net.addr().is_ipv4();
        assert_eq!(host.address_list().unwrap().iter().filter(is_v4).count(), 4000);
    }

    /// A list that is read while links come and go holds each link once.
    #[test]
    fn dumps_during_changes() {
        let host = Namespace::new("host").unwrap();
        host.apply_all((0..60).map(|n| link::Bridge::new(&format!("br{n}")).down().request())).unwrap();
        // A connection of its own: users of one take turns.
        let other = Namespace::from_fd("host", std::os::fd::AsFd::as_fd(&host).try_clone_to_owned().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..30 {
                    other.apply(link::Bridge::new("passing").down().request()).unwrap();
                    other.apply(link::delete("passing")).unwrap();
                }
            });
            for _ in 0..50 {
                let links = host.link_messages().unwrap();
                let kept = links.iter().filter_map(link::name_of).filter(|name| name.starts_with("br"));
                let mut names: Vec<&str> = kept.collect();
                assert_eq!(names.len(), 60);
                names.dedup();
                assert_eq!(names.len(), 60);
            }
        });
    }
}
