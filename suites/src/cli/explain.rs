//! `netproof explain CASE`

use netproof::Topology;
use netproof_suites::{run::Item, suite::all_cases};

use super::{Ended, Wrong, print, select};

/// Which case, or topology
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The case's id, a suite, or the start of an id; with @TOPOLOGY for its picture of that, which alone means what is
    /// tried on it
    #[arg(value_name = "CASE|TOPOLOGY")]
    name: String,
}

pub(crate) fn run(args: &Args) -> Ended {
    if let Ok(topology) = Topology::shipped(args.name.trim_start_matches('@')) {
        print(&drawn(&topology))?;
        if !all_cases().any(|case| case.is_meant(&args.name)) {
            return Ok(0);
        }
        print("\n")?;
    }
    let texts = items(args)?.into_iter().map(|item| text(&item)).collect::<Vec<String>>();
    print(&texts.join("\n"))?;
    Ok(0)
}

/// The cases that are meant, each on its first topology, or on the one that is named.
pub(super) fn items(args: &Args) -> Result<Vec<Item>, Wrong> {
    let mut items = select::items(std::slice::from_ref(&args.name))?;
    items.dedup_by(|later, first| later.case.id == first.case.id);
    Ok(items)
}

/// A topology, and what is tried on it.
fn drawn(topology: &Topology) -> String {
    let bold = anstyle::Style::new().bold();
    let text = format!("{bold}{}{bold:#}: {}\n\n{}", topology.name, topology.summary, picture(topology));
    let cases = all_cases().filter(|case| case.on.contains(&topology.name.as_str())).count();
    text + &format!("\n{cases} cases are tried on it: netproof list @{}\n", topology.name)
}

fn text(Item { case, topology }: &Item) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{}{bold:#} ({})\n\n{}\n\n{}:\n", case.id, case.level, case.claim, topology.name);
    text += &picture(topology);
    text += &format!("\nFailing means: {}\nSource: {}\n", case.failing, case.source);
    text += &format!("Topologies: {}\nTry it: netproof run {}\n", case.on.join(", "), case.id);
    text
}

/// A topology's diagram, indented.
fn picture(topology: &Topology) -> String {
    topology.diagram().lines().map(|line| format!("    {line}\n")).collect()
}
