//! `docs/versions.md` is made from the lists of known failures; this makes it, and holds it to them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{fs, path::Path};

use netproof_suites::deviation::{Deviations, Known};

const HEAD: &str = "\
# What became of it in other versions

The implementations that come with the command are graded as Debian 12 has them ([the matrix](matrix.md)), and as later
releases have them: `ci/releases sid`. What is known to fail in some of the graded versions and not in the others, made
from the lists in `fixtures/deviations` (`UPDATE=1 cargo test -p netproof-suites --test versions`):
";

/// The page is that of the lists. `UPDATE=1` writes it anew.
#[test]
fn the_page_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("docs/versions.md");
    let mut lists: Vec<_> =
        fs::read_dir(root.join("fixtures/deviations")).unwrap().map(|file| file.unwrap().path()).collect();
    lists.sort();
    let fresh: String = [HEAD.to_owned()].into_iter().chain(lists.iter().map(|list| section(list))).collect();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == fresh, "{} is stale: UPDATE=1 cargo test -p netproof-suites --test versions", path.display());
}

/// What a list tells of versions; nothing where it knows one.
fn section(path: &Path) -> String {
    let list = Deviations::read(path).unwrap();
    if list.versions.len() < 2 {
        return String::new();
    }
    let name = path.file_stem().unwrap().to_string_lossy();
    let mut text = format!("\n## {name} {}\n\n", list.versions.join(", "));
    let mut left: Vec<&Known> = list.known.iter().filter(|known| !known.versions.is_empty()).collect();
    if left.is_empty() {
        text += "The same in all of them.\n";
    }
    while let Some(first) = left.first().copied() {
        let alike = |known: &&Known| known.versions == first.versions && known.reason == first.reason;
        let cases: Vec<_> = left.iter().copied().filter(alike).map(named).collect();
        let link = first.link.as_ref().map(|link| format!(" ({link})")).unwrap_or_default();
        text +=
            &format!("- In {} alone: {}{link}.  \n  {}\n", first.versions.join(", "), first.reason, cases.join(", "));
        left.retain(|known| !alike(known));
    }
    text
}

fn named(known: &Known) -> String {
    let place = known.topology.as_ref().map(|topology| format!(" on `{topology}`")).unwrap_or_default();
    let chance = if known.sometimes { " (by chance)" } else { "" };
    format!("`{}`{place}{chance}", known.case)
}
