//! Name resolution through the network.
//!
//! ```text
//! outside: DNS 192.0.2.1 --- eth0 [host: br0] --- [netns1]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "resolver",
    about: "Nodes ask a DNS server beyond the host, and get its answers.",
    cases: &[
        Case {
            id: "resolver/a-name-is-resolved-by-the-upstream-server",
            level: Must,
            claim: "A node asks the upstream server by UDP for a name, and gets the address that the server has for it.",
            source: "article's closing lines; RFC 1035",
            failing: "Names do not resolve in containers: hardly anything works.",
            on: &["resolver"],
            start: Built,
            run: resolved,
        },
        Case {
            id: "resolver/a-name-that-is-not-there-is-told",
            level: Must,
            claim: "For a name that the server does not know, the node gets its answer that there is none, not silence.",
            source: "RFC 2308",
            failing: "Programs wait for a time-out wherever a name is misspelt.",
            on: &["resolver"],
            start: Built,
            run: no_such_name,
        },
    ],
};

fn resolved(stage: &mut Stage) -> Result<()> {
    let server = stage.topology().dns.upstream[0];
    let _serving =
        stage.outside().serve_dns((Target::from(server), 53), [("service.example", [198, 51, 100, 7].into())])?;
    for node in stage.nodes() {
        stage.cold()?;
        expect!(node.lookup("service.example").server(server), Address("198.51.100.7"));
    }
    Ok(())
}

fn no_such_name(stage: &mut Stage) -> Result<()> {
    let server = stage.topology().dns.upstream[0];
    let _serving =
        stage.outside().serve_dns((Target::from(server), 53), [("service.example", [198, 51, 100, 7].into())])?;
    for node in stage.nodes() {
        expect!(node.lookup("nothing.example").server(server), NoSuchName);
    }
    Ok(())
}
