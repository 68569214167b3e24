//! Times labs of `pair`, each up to its first echo reply: `cargo run --release --example pair -p netproof -- 100`.
//!
//! Prints one JSON line like `floor.c`, which does the same in raw netlink: compare both in one run.

use std::time::Instant;

use netproof::{Deadline, Lab, probe::Probe};

fn main() -> netproof::Result<()> {
    let labs: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(50);
    let mut times = Vec::with_capacity(labs);
    let mut lost = 0;
    for _ in 0..labs {
        let start = Instant::now();
        let lab = Lab::of("pair")?;
        let ping = lab.node("netns1").ping(lab.node("netns2"));
        let first = ping.look(Deadline::after(std::time::Duration::from_secs(1)))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        lost += usize::from(!first.answered());
    }
    times.sort_by(f64::total_cmp);
    let (least, median, most) = (times[0], times[labs / 2], times[labs - 1]);
    println!(
        r#"{{"labs":{labs},"ms_min":{least:.3},"ms_median":{median:.3},"ms_max":{most:.3},"first_pings_lost":{lost}}}"#
    );
    Ok(())
}
