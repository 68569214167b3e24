//! `netproof explain CASE`

use netproof::Topology;
use netproof_suites::{case::Case, suite::all_cases};

use super::{Ended, Wrong, select};

/// Which case
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The case's id, a suite, or the start of an id
    #[arg(value_name = "CASE")]
    name: String,
}

pub(crate) fn run(args: &Args) -> Ended {
    let cases: Vec<&Case> = all_cases().filter(|case| select::means(&args.name, case.id)).collect();
    if cases.is_empty() {
        return Err(Wrong(format!(
            "no case is called `{}`; did you mean `{}`?",
            args.name,
            select::nearest(&args.name)
        )));
    }
    for (place, case) in cases.iter().enumerate() {
        if place > 0 {
            println!();
        }
        explain(case)?;
    }
    Ok(0)
}

fn explain(case: &Case) -> Result<(), Wrong> {
    let bold = anstyle::Style::new().bold();
    anstream::println!("{bold}{}{bold:#} ({})\n", case.id, case.level);
    println!("{}\n", case.claim);
    let picture = Topology::shipped(case.on[0])?.diagram();
    println!("{}:", case.on[0]);
    picture.lines().for_each(|line| println!("    {line}"));
    println!("\nFailing means: {}", case.failing);
    println!("Source: {}", case.source);
    println!("Topologies: {}", case.on.join(", "));
    println!("Try it: netproof run {}", case.id);
    Ok(())
}
