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
        Case {
            id: "resolver/tcp-and-large-answers-pass",
            level: Must,
            claim: "At the port of DNS the upstream server is reached by TCP, and its datagrams of some 1,200 bytes arrive.",
            source: "RFC 7766; RFC 6891; DNS flag day 2020",
            failing: "Most names resolve; those with many addresses or signatures do not.",
            on: &["resolver"],
            start: Built,
            run: large_answers,
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

fn large_answers(stage: &mut Stage) -> Result<()> {
    let server = Target::from(stage.topology().dns.upstream[0]);
    let _tcp = stage.outside().serve_http((server.clone(), 53))?;
    let _udp = stage.outside().serve_udp((server.clone(), 53))?;
    for node in stage.nodes() {
        stage.cold()?;
        expect!(node.http((server.clone(), 53)).get(), Status { code: 200, .. });
        expect!(node.udp_to((server.clone(), 53)).size(1_200), Answer { .. });
    }
    Ok(())
}
