//! `netproof doctor`

use netproof::environment;

use super::{Ended, print};

pub(crate) fn run() -> Ended {
    let mut text = String::new();
    let mut status = 0;
    for check in environment::checks() {
        let mark = match (check.found, check.needed) {
            (true, _) => "ok     ",
            (false, false) => "absent ",
            (false, true) => "MISSING",
        };
        text += &format!("{mark} {}: {}\n", check.what, check.detail);
        if !check.found {
            text += &format!("        try: {}\n", check.remedy);
            status = if check.needed { 3 } else { status };
        }
    }
    print(&text)?;
    Ok(status)
}
