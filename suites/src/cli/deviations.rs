//! `netproof deviations REPORT`

use std::path::PathBuf;

use netproof_suites::{deviation::Deviations, report::Report};

use super::{Ended, Wrong, print, reading};

/// Which report
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A `report.json`: `netproof run --report DIR`
    report: PathBuf,
    /// Whose failures, where the report is about several
    #[arg(long, value_name = "NAME")]
    implementation: Option<String>,
}

pub(crate) fn run(args: &Args) -> Ended {
    let report = Report::read(&args.report).map_err(|error| reading(&args.report, error))?;
    let wanted = |name: &String| args.implementation.as_ref().is_none_or(|wanted| wanted == name);
    let graded: Vec<_> = report.implementations.iter().filter(|graded| wanted(&graded.name)).collect();
    let [graded] = graded.as_slice() else {
        let names: Vec<&str> = report.implementations.iter().map(|graded| graded.name.as_str()).collect();
        let message = format!("--implementation has to be one of those in the report: {}", names.join(", "));
        return Err(Wrong::new(message));
    };
    let known = Deviations::of(&graded.version, &graded.cases);
    let list = toml::to_string(&known).map_err(|error| Wrong::new(format!("writing the list: {error}")))?;
    print(&format!("# What {} is known to fail. A reason says why: look into each.\n{list}", graded.name))?;
    Ok(0)
}
