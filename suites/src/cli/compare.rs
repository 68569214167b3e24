//! `netproof compare OLD NEW`

use std::path::PathBuf;

use netproof_suites::{compare::compare, report::Report};

use super::{Ended, print, reading};

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
    let mut text = String::new();
    if old.suite.version != new.suite.version {
        text += &format!("suite {} against {}: claims may have changed\n", old.suite.version, new.suite.version);
    }
    let changes = compare(&old, &new);
    for change in &changes {
        text += &format!("{:<8} {}: {}\n", change.kind, change.name, change.text);
    }
    let regressions = changes.iter().filter(|change| change.kind.is_regression()).count();
    text += &format!("{} changed, {regressions} for the worse\n", changes.len());
    print(&text)?;
    Ok(u8::from(regressions > 0))
}
