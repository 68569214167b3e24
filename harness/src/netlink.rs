//! Requests over rtnetlink, many in one round trip.

use std::{io, pin::Pin};

use futures::{Stream, StreamExt};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    },
    packet_route::RouteNetlinkMessage,
};

use crate::{Error, Namespace, Result, runtime::block_on};

/// One change that the kernel is asked for, made by a method of [`crate::link`], [`crate::addr`], [`crate::route`] or [`crate::neigh`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until `Namespace::apply`"]
pub struct Request {
    doing: String,
    message: RouteNetlinkMessage,
    flags: u16,
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
        Self { doing, message, flags: NLM_F_CREATE | NLM_F_EXCL, held: None }
    }

    /// Something new, or in the place of what is there.
    pub(crate) fn replace(doing: String, message: RouteNetlinkMessage) -> Self {
        Self { doing, message, flags: NLM_F_CREATE | NLM_F_REPLACE, held: None }
    }

    /// A change to what is there, or its removal.
    pub(crate) fn change(doing: String, message: RouteNetlinkMessage) -> Self {
        Self { doing, message, flags: 0, held: None }
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
        self.start(requests)?.finish()
    }

    /// Sends requests, whose answers [`Pending::finish`] waits for: so that several namespaces are at work at once.
    pub(crate) fn start(&self, requests: impl IntoIterator<Item = Request>) -> Result<Pending> {
        let handle = self.rtnetlink()?;
        let mut answers = Vec::new();
        for Request { doing, message, flags, held: _held } in requests {
            let sent = send(&handle, message, NLM_F_REQUEST | NLM_F_ACK | flags);
            answers.push((sent.map_err(|error| Error::kernel(&doing, self.name(), error))?, doing));
        }
        Ok(Pending { namespace: self.clone(), answers })
    }

    /// Asks for what matches `message`: one object, or with `dump` all of its kind.
    pub(crate) fn ask(
        &self,
        doing: &str,
        message: RouteNetlinkMessage,
        dump: bool,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let handle = self.rtnetlink()?;
        let failed = |error| Error::kernel(doing, self.name(), error);
        let flags = if dump { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
        let mut answer = send(&handle, message, flags).map_err(failed)?;
        block_on(async {
            let mut found = Vec::new();
            while let Some(message) = answer.next().await {
                refused(&message).map_err(failed)?;
                if let NetlinkPayload::InnerMessage(inner) = message.payload {
                    found.push(inner);
                }
            }
            Ok(found)
        })
    }
}

/// Requests that are under way.
#[must_use]
pub(crate) struct Pending {
    namespace: Namespace,
    answers: Vec<(Answer, String)>,
}

impl Pending {
    /// Waits for every answer; the first error is returned.
    pub(crate) fn finish(self) -> Result<()> {
        block_on(async {
            let mut result = Ok(());
            for (mut answer, doing) in self.answers {
                while let Some(message) = answer.next().await {
                    if let Err(error) = refused(&message) {
                        result = result.and(Err(Error::kernel(&doing, self.namespace.name(), error)));
                    }
                }
            }
            result
        })
    }
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

type Answer = Pin<Box<dyn Stream<Item = Message> + Send>>;

fn send(handle: &rtnetlink::Handle, message: RouteNetlinkMessage, flags: u16) -> io::Result<Answer> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    match handle.clone().request(message) {
        Ok(answer) => Ok(Box::pin(answer)),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn refused(message: &Message) -> io::Result<()> {
    match &message.payload {
        NetlinkPayload::Error(error) => match error.code {
            Some(_) => Err(error.to_io()),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}
