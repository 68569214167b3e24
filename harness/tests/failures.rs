//! What a failed expectation hands to whoever catches it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use netproof::{Failure, Lab, expect, expect::Kind, given};

/// A test's process gets the text, a runner the failure itself; both tell the cause, and the state of the namespaces
/// between. One test, because the switch is for the whole process.
///
///     [netns1] --- veth1-0 [host: br0] veth2-0 --- [netns2]
#[test]
fn a_failure_is_a_text_or_a_value() {
    let lab = Lab::of("pair").unwrap();
    let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    lab.host().apply(netproof::link::set_down("br0")).unwrap();
    let fail = || {
        let claim = || expect!(netns1.ping(netns2), Reply { ttl: 64, .. }, within: Duration::from_millis(1));
        catch_unwind(AssertUnwindSafe(|| given("br0 down", claim))).unwrap_err()
    };

    let panic = fail();
    let text = panic.downcast_ref::<String>().unwrap();
    for part in [
        "expectation failed at harness/tests/failures.rs:",
        "netns1: ping 10.20.20.41 (netns2)",
        "Reply { ttl: 64, .. }",
        "no reply",
        "br0 down",
        "br0 in host is down",
        "state of netns1:",
        "state of host:",
        "master br0 state disabled",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }

    expect::as_values(true);
    let failure = *fail().downcast::<Failure>().unwrap();
    expect::as_values(false);
    assert_eq!(failure.kind, Kind::Failed);
    assert!(failure.at.starts_with("harness/tests/failures.rs:"), "{}", failure.at);
    assert!(failure.reason().starts_with("netns1: ping 10.20.20.41 (netns2): expected Reply"), "{}", failure.reason());
    assert!(failure.reason().contains("br0 in host is down"), "{}", failure.reason());
    assert!(fail().is::<String>());
}
