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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// `docs/matrix.md` is what the stored report says. `UPDATE=1` writes it anew.
    #[test]
    fn the_matrix_is_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fresh = matrix(&Report::read(&root.join("fixtures/reports/matrix.json")).unwrap());
        let page = root.join("docs/matrix.md");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&page, &fresh).unwrap();
        }
        let stored = fs::read_to_string(&page).unwrap_or_default();
        assert!(stored == fresh, "docs/matrix.md is stale: UPDATE=1 cargo test -p netproof-suites fresh");
    }
}
