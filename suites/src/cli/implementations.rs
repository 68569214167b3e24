//! `netproof implementations`

use std::path::Path;

use comfy_table::{Table, presets::NOTHING};
use netproof_suites::{run::Subject, shipped};

use super::{Ended, Wrong, print};

/// How to tell them
#[derive(clap::Args)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Write the driver of one, and its list of known failures, into a new folder instead: to change what it starts
    #[arg(long, num_args = 2, value_names = ["NAME", "DIR"], conflicts_with = "json")]
    copy: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Ended {
    if let [name, folder] = args.copy.as_slice() {
        shipped::copy(name, Path::new(folder))?;
        print(&format!(
            "netproof run --driver {folder}/driver --deviations {folder}/deviations.toml grades it, changed or not.\n"
        ))?;
        return Ok(0);
    }
    netproof::environment::ready().map_err(|error| Wrong::environment(error.to_string()))?;
    let (mut subjects, mut status) = (Vec::new(), 0);
    for subject in shipped::all() {
        match subject {
            Ok(subject) => subjects.push(subject),
            Err(error) => {
                anstream::eprintln!("{error}");
                status = 2;
            }
        }
    }
    if args.json {
        let all: Vec<_> = subjects.iter().map(|subject| &subject.description).collect();
        print(&(serde_json::to_string_pretty(&all)? + "\n"))?;
        return Ok(status);
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["name", "version", "topologies"]);
    for Subject { description, .. } in &subjects {
        let builds = match (&description.missing, description.topologies.join(", ")) {
            (Some(how), _) => format!("not installed; try: {how}"),
            (None, all) if all == "*" => "any".into(),
            (None, some) => some,
        };
        table.add_row([&description.name, &description.version, &builds]);
    }
    print(&format!("{table}\n\nnetproof run --all grades every one that is installed.\n"))?;
    Ok(status)
}
