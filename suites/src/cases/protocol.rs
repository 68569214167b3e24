//! The driver protocol: an implementation says what it cannot do, and asking changes nothing.

use netproof::{Error, Lab, protocol::Request};

use super::prelude::*;
use crate::snapshot::Snapshot;

pub(super) const SUITE: Suite = Suite {
    name: "protocol",
    about: "How an implementation answers what it does not know.",
    cases: &[
        Case {
            id: "protocol/an-unknown-topology-is-declined",
            level: Must,
            claim: "A topology that the implementation has never heard of is declined with exit status 89, and nothing changes; who claims `*` builds it from its data.",
            source: "docs/driver-protocol.md, Answers",
            failing: "A topology of a later version is graded as if it were built, or leaves something behind.",
            on: &["pair"],
            start: Unclaimed,
            run: an_unknown_topology,
        },
        Case {
            id: "protocol/an-unknown-verb-is-declined",
            level: Must,
            claim: "A verb that the implementation has never heard of is declined with exit status 89, and nothing changes.",
            source: "docs/driver-protocol.md, Answers",
            failing: "A verb of a later version counts as done though nothing was, or leaves something behind.",
            on: &["pair"],
            start: Unclaimed,
            run: an_unknown_verb,
        },
        Case {
            id: "protocol/describing-changes-nothing",
            level: Must,
            claim: "Asked what it is, the implementation answers as before, and nothing changes.",
            source: "docs/driver-protocol.md, `describe`",
            failing: "What an implementation claims depends on when it is asked, or asking it has effects.",
            on: &["pair"],
            start: Unclaimed,
            run: describing,
        },
    ],
};

fn an_unknown_topology(stage: &mut Stage) -> Result<()> {
    let mut unknown = stage.asked().clone();
    unknown.name = "a-topology-that-there-is-not".into();
    if stage.description().topologies.iter().any(|claimed| claimed == "*") {
        let lab = Lab::builder(unknown).implementation(stage.implementation().clone()).up()?;
        expect!(lab.node("netns1").ping(lab.node("netns2")), Reply { ttl: 64, .. });
        return Ok(());
    }
    let before = Snapshot::of(stage)?;
    let answer = stage.implementation().up(stage.site(), &Request::new(&unknown)).map(drop);
    declined(stage, "up", "a topology that there is not", answer)?;
    unchanged(stage, "up", &before)
}

fn an_unknown_verb(stage: &mut Stage) -> Result<()> {
    let before = Snapshot::of(stage)?;
    let request = Request::new(stage.asked());
    let verb = "a-verb-that-there-is-not";
    let answer = stage.implementation().other(verb, stage.site(), &request);
    declined(stage, verb, "a verb that there is not", answer)?;
    unchanged(stage, verb, &before)
}

fn describing(stage: &mut Stage) -> Result<()> {
    let before = Snapshot::of(stage)?;
    let again = stage.implementation().describe(stage.site())?;
    if again != *stage.description() {
        let evidence = format!("first: {:?}\nnow: {again:?}", stage.description());
        return Err(stage.blame("describe", "answers otherwise than before", evidence));
    }
    unchanged(stage, "describe", &before)
}

/// Only 89 is the right answer.
fn declined(stage: &Stage, verb: &str, what: &str, answer: Result<()>) -> Result<()> {
    match answer {
        Err(Error::Unsupported(_)) => Ok(()),
        Ok(()) => Err(stage.blame(verb, &format!("exits 0 for {what}; the right answer is 89"), "")),
        Err(error @ Error::Implementation { .. }) => {
            Err(stage.blame(verb, &format!("fails at {what}; the right answer is 89"), error.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn unchanged(stage: &Stage, verb: &str, before: &Snapshot) -> Result<()> {
    match before.diff()? {
        Some(diff) => Err(stage.blame(verb, "is to change nothing, and did", diff)),
        None => Ok(()),
    }
}
