//! `netproof matrix REPORT`

use std::path::PathBuf;

use netproof_suites::report::{Report, matrix};

use super::{Ended, print, reading};

/// Which report
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A `report.json` of several implementations: `netproof run --all --report DIR`
    report: PathBuf,
    /// Print the report itself instead, without its evidence and times: to be stored beside the matrix
    #[arg(long)]
    bare: bool,
}

pub(crate) fn run(args: &Args) -> Ended {
    let report = Report::read(&args.report).map_err(|error| reading(&args.report, error))?;
    if args.bare {
        print(&(serde_json::to_string_pretty(&report.bare())? + "\n"))?;
    } else {
        print(&matrix(&report))?;
    }
    Ok(0)
}
