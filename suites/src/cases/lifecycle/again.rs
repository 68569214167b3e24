//! Verbs that are called again, and those that fail.

use netproof::Error;

use super::*;

pub(super) fn down_twice(stage: &mut Stage) -> Result<()> {
    stage.down()?;
    let before = Inventory::of(stage.host())?;
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after the second `down`")
}

pub(super) fn up_again(stage: &mut Stage) -> Result<()> {
    for _ in 0..2 {
        stage.down()?;
        stage.up()?;
        works(stage)?;
    }
    Ok(())
}

pub(super) fn up_twice(stage: &mut Stage) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    if let Err(error @ Error::Unsupported(_)) = again(stage) {
        return Err(stage.blame("up", "`up` of what stands was answered as not supported", error.to_string()));
    }
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after the second `up`")?;
    works(stage)
}

pub(super) fn down_after_up_twice(stage: &mut Stage) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let _ = again(stage);
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after `up`, `up` and `down`")
}

/// A second `up`, which may succeed or refuse: `up_twice` is about its answer.
fn again(stage: &Stage) -> Result<netproof::protocol::Reply> {
    stage.implementation().up(stage.site(), &netproof::protocol::Request::new(stage.asked()))
}

/// The name of the last node's port, which somebody else's link has.
fn take_name(stage: &Stage) -> Result<String> {
    let taken = stage.asked().nodes.last().and_then(|node| node.interfaces[0].port.clone()).expect("it has a port");
    stage.host().apply(link::Veth::new(&taken, "np-taken").request())?;
    Ok(taken)
}

/// Calls `up` with a name taken; none, where the implementation found a way around it, and it works.
fn failed_up(stage: &mut Stage) -> Result<Option<(Inventory, String)>> {
    let taken = take_name(stage)?;
    let before = Inventory::of(stage.host())?;
    match stage.up() {
        Err(Error::Implementation { .. } | Error::Kernel { .. }) => Ok(Some((before, taken))),
        // A name of its own choice for the host's end is no clash; but the other's link has to be as it was.
        Ok(()) => {
            expect!(stage.host().link(&taken), Some(Link { kind: "veth", master: "", .. }));
            expect!(stage.host().link("np-taken"), Some(Link { kind: "veth", .. }));
            works(stage)?;
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

pub(super) fn rolls_back(stage: &mut Stage) -> Result<()> {
    let Some((before, _)) = failed_up(stage)? else { return Ok(()) };
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after the failed `up` and `down`")
}

pub(super) fn rolls_sysctls_back(stage: &mut Stage) -> Result<()> {
    let Some((before, _)) = failed_up(stage)? else { return Ok(()) };
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), &[Kind::Sysctl], "after the failed `up` and `down`")
}

/// What may come before a `down` and make it forget how sysctls were: one after the other, in one lab.
pub(super) fn sysctls_after_all(stage: &mut Stage) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    let down = |stage: &mut Stage, when: &str| {
        stage.down()?;
        same(&before.changes(&Inventory::of(stage.host())?), &[Kind::Sysctl], when)
    };
    stage.up()?;
    let _ = again(stage);
    down(stage, "after `up`, `up` and `down`")?;
    if stage.knows("add") {
        stage.up()?;
        let node = newcomer(stage, "newcomer");
        stage.add(node, Vec::new())?;
        down(stage, "after `add` and `down`")?;
    }
    stage.up()?;
    stage.lose("netns1")?;
    down(stage, "after `down` with a node gone")
}

pub(super) fn cleans_up(stage: &mut Stage) -> Result<()> {
    let Some((before, _)) = failed_up(stage)? else { return Ok(()) };
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after the failed `up`")
}

pub(super) fn works_after(stage: &mut Stage) -> Result<()> {
    let Some((_, taken)) = failed_up(stage)? else { return Ok(()) };
    stage.down()?;
    // A `down` that took somebody else's link away is what `rolls_back` is about.
    if stage.host().index(&taken).is_ok() {
        stage.host().apply(link::delete(&taken))?;
    }
    stage.up()?;
    works(stage)
}
