//! Labs with programs in them, one after another, until somebody ends it: what `ci/survivors` kills.
//!
//! Prints one line for each lab that stands.

use std::{io::Write, time::Duration};

use netproof::{Deadline, Lab, expect};

netproof::enter!();

fn main() -> netproof::Result<()> {
    let topologies = ["pair", "gateway-one-subnet", "publish", "isolated-v6"];
    // What tells this run's processes from those of another.
    let mark = std::env::args().nth(1).unwrap_or_else(|| "1000".into());
    let mut kept = Vec::new();
    for topology in topologies.iter().cycle() {
        let lab = Lab::of(topology)?;
        // Daemons, files and cgroups that nobody takes away but the lab's own end.
        let script = format!(
            "for d in a b; do mkdir -p /sys/fs/cgroup/$d/deep; done; echo x >/etc/np-survivor; echo x >/var/np-survivor; \
             echo x >/run/np-survivor; echo x >/tmp/np-survivor; setsid sleep {mark} & setsid sh -c 'while :; do sleep 1; done' {mark} & exit 0"
        );
        lab.command("/bin/sh")?.args(["-c", &script]).output(Deadline::after(Duration::from_secs(10)))?;
        expect!(lab.nodes()[0].ping(&lab.nodes()[1]), Reply { .. });
        println!("{topology}");
        std::io::stdout().flush().map_err(|error| netproof::Error::kernel("printing", "the machine", error))?;
        kept.push(lab);
        if kept.len() > 3 {
            drop(kept.remove(0));
        }
    }
    Ok(())
}
