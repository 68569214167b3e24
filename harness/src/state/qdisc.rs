//! Queueing disciplines.

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage},
};

use super::Names;
use crate::{Error, Namespace, Result};

/// Those that somebody has set, as `tc qdisc` shows them: `pfifo dev eth0 root`. The kernel's own have no handle.
pub(crate) fn read(namespace: &Namespace, names: &Names) -> Result<Vec<String>> {
    let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let found = match namespace.ask("listing queueing disciplines", message, true) {
        // Not every kernel has traffic control.
        Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let line = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) if qdisc.header.handle.major != 0 => {
            let kind = qdisc.attributes.iter().find_map(|attribute| match attribute {
                TcAttribute::Kind(kind) => Some(kind.as_str()),
                _ => None,
            });
            let TcHandle { major, minor } = qdisc.header.parent;
            let parent =
                if (major, minor) == (0xffff, 0xffff) { "root".into() } else { format!("parent {major:x}:{minor:x}") };
            let dev = names.of(u32::try_from(qdisc.header.index).unwrap_or_default());
            Some(format!("{} dev {dev} {parent}", kind.unwrap_or("unknown")))
        }
        _ => None,
    };
    Ok(found.iter().filter_map(line).collect())
}
