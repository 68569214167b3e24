//! `netproof compare OLD NEW`

use std::path::PathBuf;

use netproof_suites::{compare::compare, report::Report};

use super::{Ended, reading};

/// Which reports
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The earlier `report.json`
    old: PathBuf,
    /// The later `report.json`
    new: PathBuf,
}

pub(crate) fn run(args: &Args) -> Ended {
    let old = Report::read(&args.old).map_err(|error| reading(&args.old, error))?;
    let new = Report::read(&args.new).map_err(|error| reading(&args.new, error))?;
    if old.suite.version != new.suite.version {
        println!("suite {} against {}: claims may have changed", old.suite.version, new.suite.version);
    }
    let changes = compare(&old, &new);
    for change in &changes {
        println!("{:<8} {}: {}", change.kind, change.name, change.text);
    }
    let regressions = changes.iter().filter(|change| change.kind.is_regression()).count();
    println!("{} changes, {regressions} of them regressions", changes.len());
    Ok(u8::from(regressions > 0))
}
