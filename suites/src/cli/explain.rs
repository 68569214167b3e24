//! `netproof explain CASE`

use netproof::Topology;
use netproof_suites::{case::Case, suite::all_cases};

use super::{Ended, Wrong, print, select};

/// Which case
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The case's id, a suite, or the start of an id
    #[arg(value_name = "CASE")]
    name: String,
}

pub(crate) fn run(args: &Args) -> Ended {
    let texts = cases(args)?.into_iter().map(text).collect::<Result<Vec<String>, Wrong>>()?;
    print(&texts.join("\n"))?;
    Ok(0)
}

/// The cases that are meant.
pub(super) fn cases(args: &Args) -> Result<Vec<&'static Case>, Wrong> {
    let cases: Vec<&'static Case> = all_cases().filter(|case| case.is_meant(&args.name)).collect();
    if cases.is_empty() {
        return Err(Wrong::new(format!(
            "no case is called `{}`; did you mean `{}`?",
            args.name,
            select::nearest(&args.name)
        )));
    }
    Ok(cases)
}

fn text(case: &Case) -> Result<String, Wrong> {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{}{bold:#} ({})\n\n{}\n\n{}:\n", case.id, case.level, case.claim, case.on[0]);
    for line in Topology::shipped(case.on[0])?.diagram().lines() {
        text += &format!("    {line}\n");
    }
    text += &format!("\nFailing means: {}\nSource: {}\n", case.failing, case.source);
    text += &format!("Topologies: {}\nTry it: netproof run {}\n", case.on.join(", "), case.id);
    Ok(text)
}
