//! `netproof doctor`

use netproof::environment;

use super::Ended;

pub(crate) fn run() -> Ended {
    let mut status = 0;
    for check in environment::checks() {
        let mark = match (check.found, check.needed) {
            (true, _) => "ok     ",
            (false, false) => "absent ",
            (false, true) => "MISSING",
        };
        println!("{mark} {}: {}", check.what, check.detail);
        if !check.found {
            println!("        {}", check.remedy);
            status = if check.needed { 3 } else { status };
        }
    }
    Ok(status)
}
