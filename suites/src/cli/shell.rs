//! `netproof shell`

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, atomic::AtomicBool},
};

use netproof::{Error, Lab, Namespace, Topology, world::SCRATCH};
use netproof_suites::{
    report::{Again, Report, text},
    run::{Item, Subject, Verdict, try_and_keep},
    shipped,
};
use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp},
};
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::{
    Ended, RED, Wrong, print,
    run::{implementation_help, installed},
    select,
};

/// Where the shell opens, and what runs there instead of one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A topology, or a case: with @TOPOLOGY where it is tried on several
    #[arg(value_name = "TOPOLOGY|CASE", required_unless_present = "topology")]
    name: Option<String>,
    /// Have the implementation build it that this driver attaches (docs/driver-protocol.md)
    #[arg(long, value_name = "PATH", conflicts_with = "implementation")]
    driver: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = implementation_help("Have it built by", ""))]
    implementation: Option<String>,
    /// A topology of your own; a case is tried on it
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// The namespace to be in: a node, or `outside`
    #[arg(long = "in", value_name = "NAME", default_value = "host")]
    inside: String,
    /// What to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What stands when the shell opens.
pub(super) enum Meant {
    Topology(Topology),
    Case(Item),
}

pub(crate) fn run(args: &Args) -> Ended {
    let meant = meant(args)?;
    netproof::environment::ready().map_err(|error| Wrong::environment(error.to_string()))?;
    let subject = match (&args.driver, &args.implementation) {
        (Some(path), _) => shipped::driver(path)?,
        (None, Some(name)) => shipped::implementation(name)?,
        (None, None) => shipped::native(),
    };
    let subject = installed(subject)?;
    match meant {
        Meant::Topology(topology) => built(args, &subject, topology),
        Meant::Case(item) => failed(args, &subject, &item),
    }
}

/// Has the topology built, and opens the shell whether that succeeds or not: one may want to see what is there.
fn built(args: &Args, subject: &Subject, topology: Topology) -> Ended {
    let mut lab = Lab::builder(topology).implementation(subject.implementation.clone()).prepare()?;
    match lab.up() {
        Err(error @ Error::Unsupported(_)) => return Err(Wrong::environment(error.to_string())),
        Err(error) => anstream::eprintln!("{RED}error:{RED:#} {error}"),
        Ok(()) => {}
    }
    open(args, &lab)
}

/// What the name means.
pub(super) fn meant(args: &Args) -> Result<Meant, Wrong> {
    let own = args.topology.as_ref().map(Topology::from_file).transpose()?;
    match (&args.name, own) {
        (None, own) => Ok(Meant::Topology(own.ok_or_else(|| Wrong::new("which topology?"))?)),
        (Some(name), own) if name.contains('/') => Ok(Meant::Case(case(name, own)?)),
        (Some(name), None) => Ok(Meant::Topology(Topology::shipped(name.trim_start_matches('@'))?)),
        (Some(name), Some(_)) => {
            Err(Wrong::new(format!("`{name}` is no case, and --topology names a topology already")))
        }
    }
}

/// The one case that the name means, on the one topology.
fn case(name: &str, own: Option<Topology>) -> Result<Item, Wrong> {
    let mut items = select::items(&[name.to_owned()])?;
    if let Some(topology) = own {
        items = select::on_topology(items, &topology)?;
    }
    match <[Item; 1]>::try_from(items) {
        Ok([item]) => Ok(item),
        Err(items) if items.is_empty() => {
            Err(Wrong::new(format!("`{name}` does not apply to a topology of this shape")))
        }
        Err(items) => {
            let each: Vec<String> =
                items.iter().map(|item| format!("{}@{}", item.case.id, item.topology.name)).collect();
            Err(Wrong::new(format!("`{name}` is several, and a shell opens in one:\n  {}", each.join("\n  "))))
        }
    }
}

/// Tries the case, and opens the shell where it failed.
fn failed(args: &Args, subject: &Subject, item: &Item) -> Ended {
    let (outcome, stage) = try_and_keep(subject, item);
    let mut report = Report::new();
    report.add(subject, vec![outcome.clone()]);
    let again = Again { topology: args.topology.as_deref(), ..Again::default() };
    match (outcome.verdict, stage) {
        (Verdict::Fail | Verdict::Error, Some(stage)) => {
            anstream::eprint!("{}", text(&report, &again));
            open(args, &stage)
        }
        (verdict, _) => {
            print(&text(&report, &again))?;
            let name = &item.topology.name;
            if verdict == Verdict::Pass {
                let whose = match (&args.driver, &args.implementation, &args.topology) {
                    (Some(path), ..) => format!(" --driver {}", path.display()),
                    (_, Some(name), _) => format!(" --implementation {name}"),
                    (None, None, _) => String::new(),
                };
                let place = match &args.topology {
                    Some(path) => format!("--topology {}", path.display()),
                    None => name.clone(),
                };
                anstream::eprintln!(
                    "nothing failed, so there is no shell: `netproof shell{whose} {place}` opens one in a lab as it is built"
                );
            }
            Ok(report.status(item.case.level))
        }
    }
}

/// Runs the shell, or the command, in the lab.
fn open(args: &Args, lab: &Lab) -> Ended {
    let all = namespaces(lab);
    let Some(inside) = all.iter().copied().find(|namespace| namespace.name() == args.inside) else {
        let names: Vec<&str> = all.iter().map(|namespace| namespace.name()).collect();
        return Err(Wrong::new(format!("the lab has no namespace `{}`; it has {}", args.inside, names.join(", "))));
    };
    let world = lab.world()?;
    all.iter().try_for_each(|namespace| world.bind(namespace.name(), namespace))?;
    let prompt = format!("{}:{}# ", lab.asked().name, inside.name());
    let command = match args.command.split_first() {
        Some((program, arguments)) => world.command(program).args(arguments),
        None => {
            world.write(&format!("{SCRATCH}/.bashrc"), &format!("PS1='{prompt}'\n"))?;
            wait_for_the_foreground();
            tell(lab, inside);
            world.command("sh").args(["-c", "command -v bash >/dev/null && exec bash; exec sh"])
        }
    };
    let terminal = ["TERM", "COLORTERM"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let command = terminal.fold(command.env("PS1", &prompt), |command, (name, value)| command.env(name, value));
    // Keys that are meant for the program reach this process as well, which is to see to the lab's end.
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let had_terminal = foreground() == Some(getpgrp());
    let status = command.inside(inside).status();
    if had_terminal {
        take_terminal_back();
    }
    Ok(as_shells_do(status?))
}

/// The lab's namespaces: those that the implementation made its nodes of, where it has its own.
fn namespaces(lab: &Lab) -> Vec<&Namespace> {
    let mut all: Vec<&Namespace> = lab.all().into_iter().map(|node| &**node).collect();
    for node in &lab.site().nodes {
        if all.iter().all(|known| known.name() != node.name()) {
            all.push(node);
        }
    }
    all
}

/// Says where one is; on standard error, so that what the shell prints can be read by a program.
fn tell(lab: &Lab, inside: &Namespace) {
    let picture = lab.topology().diagram();
    if !picture.is_empty() {
        anstream::eprintln!("{picture}\n");
    }
    anstream::eprintln!("in {}; `exit` ends the lab", inside.name());
    if let ("host", Some(node)) = (inside.name(), lab.asked().nodes.first()) {
        anstream::eprintln!("a node: ip netns exec {} COMMAND", node.name);
    }
}

/// The process group that has the terminal, where standard input is one.
fn foreground() -> Option<Pid> {
    tcgetpgrp(io::stdin()).ok()
}

/// A shell would wait for the terminal by itself, but in the lab it cannot see who has it.
fn wait_for_the_foreground() {
    while foreground().is_some_and(|group| group != getpgrp()) && kill(Pid::from_raw(0), Signal::SIGTTIN).is_ok() {}
}

/// A shell with jobs leaves the terminal to a process group that is gone with it.
fn take_terminal_back() {
    // Who is not in the foreground is stopped for asking, unless it does not listen.
    let unheard = SigSet::from(Signal::SIGTTOU);
    if unheard.thread_block().is_ok() {
        let _ = tcsetpgrp(io::stdin(), getpgrp());
        let _ = unheard.thread_unblock();
    }
}

/// The exit status, or 128 and the number of the signal.
fn as_shells_do(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
