//! The tests that the README shows, word by word (suites/tests/documents.rs compares them).

use std::time::Duration;

use netproof::{Inventory, Lab, Signal, Topology, expect};

netproof::enter!(); // one line in a test crate: an ordinary user gets a user namespace, root needs nothing

/// Two nodes on one bridge reach each other.
///
///     netns1 --- [host: br0] --- netns2
#[test]
fn peers_talk() -> netproof::Result<()> {
    let lab = Lab::of("pair")?;
    let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    expect!(netns1.ping(netns2), Reply { ttl: 64, .. });
    expect!(netns1.neighbour(netns2).on("veth1-1"), Reachable);
    Ok(())
}

/// What the program `mine` builds works, its daemon says so, and nothing is left of it.
///
///     netns1 --- [host: br0] --- netns2
#[test]
fn mine_builds_and_cleans_up() -> netproof::Result<()> {
    // Namespaces with nothing in them; the program finds them as /run/netns/netns1 and /run/netns/netns2.
    let mut lab = Lab::builder(Topology::shipped("pair")?).show(MINE).prepare()?;
    let before = Inventory::of(lab.host())?;
    let soon = Duration::from_secs(10);
    lab.command(MINE)?.arg("up").read(soon)?; // MINE: env!("CARGO_BIN_EXE_mine")
    lab.read_back(&Default::default())?;
    expect!(lab.host().link("br0"), Some(Link { up: true, .. }));
    expect!(lab.node("netns1").ping(lab.node("netns2")), Reply { .. });

    let daemon = lab.command(MINE)?.arg("serve").spawn()?;
    expect!(daemon.stderr(), text if text.contains("ready"));
    daemon.signal(Signal::SIGTERM)?;
    assert!(daemon.output(soon)?.status.success());

    lab.command(MINE)?.arg("down").read(soon)?;
    assert_eq!(before.changes(&Inventory::of(lab.host())?), []);
    Ok(())
}

/// The program of the test above.
const MINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/mine");
