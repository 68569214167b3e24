//! `netproof list`

use netproof::topology::{self, Topology};
use netproof_suites::{
    case::Case,
    suite::{SUITES, Suite},
};

use super::{Ended, print};

/// What to list, and how
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A suite, a case, the start of a case's id, each with @TOPOLOGY for that alone, or @TOPOLOGY; all, for none
    names: Vec<String>,
    /// As JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As Markdown, one page for each suite: what `docs/suites` has
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> Ended {
    let wanted = super::select::items(&args.names)?;
    let is_wanted = |case: &&Case| wanted.iter().any(|item| item.case.id == case.id);
    if args.json {
        let cases: Vec<_> = SUITES.iter().flat_map(|suite| suite.cases).filter(is_wanted).map(json).collect();
        print(&(serde_json::to_string_pretty(&cases)? + "\n"))?;
        return Ok(0);
    }
    let mut text = String::new();
    for suite in SUITES.iter().filter(|suite| suite.cases.iter().any(|case| is_wanted(&case))) {
        if args.markdown {
            text += &page(suite);
            continue;
        }
        text += &format!("{BOLD}{}{BOLD:#}  {}\n", suite.name, suite.about);
        for case in suite.cases.iter().filter(is_wanted) {
            text += &format!("  {:<6} {}\n         {}\n", case.level, case.id, case.claim);
        }
    }
    if args.names.is_empty() && !args.markdown {
        text += &topologies();
    }
    print(&text)?;
    Ok(0)
}

fn topologies() -> String {
    let one = |topology: &Topology| format!("  {:<20} {}\n", topology.name, topology.summary);
    format!("{BOLD}topologies{BOLD:#}\n{}", topology::shipped().iter().map(one).collect::<String>())
}

const BOLD: anstyle::Style = anstyle::Style::new().bold();

fn json(case: &Case) -> serde_json::Value {
    serde_json::json!({
        "id": case.id, "level": case.level, "claim": case.claim, "source": case.source,
        "failing": case.failing, "topologies": case.on,
    })
}

/// A suite as a page of Markdown.
fn page(suite: &Suite) -> String {
    let mut text = format!("# {}\n\n{}\n", suite.name, suite.about);
    for case in suite.cases {
        text += &format!(
            "\n## `{}`\n{}: {}\n\n- failing means: {}\n- source: {}\n- topologies: {}\n",
            case.id,
            case.level,
            case.claim,
            case.failing,
            case.source,
            case.on.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        );
    }
    text
}
