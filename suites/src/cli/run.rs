//! `netproof run`

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use clap::ValueEnum;
use indicatif::ProgressBar;
use netproof::{Error, Topology, protocol::Description};
use netproof_suites::{
    case::Level,
    deviation::Deviations,
    report::{Again, Report, Style, tap, text},
    run::{Item, Options, Outcome, Stop, Subject, Verdict, grade},
    shipped,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{Ended, Wrong, print, progress, select};

/// What to try, on whom, and how
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A suite, a case, the start of a case's id, each with @TOPOLOGY for that alone, or @TOPOLOGY for every case on it;
    /// every case, for none
    #[arg(value_name = "CASE|SUITE")]
    names: Vec<String>,
    /// Grade the implementation that this driver attaches (docs/driver-protocol.md); can be given again
    #[arg(long, value_name = "PATH")]
    driver: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = implementation_help("Grade", "; can be given again"))]
    implementation: Vec<String>,
    /// Grade every implementation that comes with the command and is installed
    #[arg(long, conflicts_with_all = ["implementation", "deviations"])]
    all: bool,
    /// Try the cases that apply on a topology of your own
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Write report.json and junit.xml into this folder, in the place of those that are there
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How to tell what came of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The lowest level whose failures count in the exit status; all are tried and shown [default: must; may where there
    /// is a list of known failures, as for all that come with the command]
    #[arg(long, value_enum)]
    level: Option<AtLeast>,
    /// Which cases to try
    #[arg(long, value_enum, default_value_t = Profile::Full)]
    profile: Profile,
    /// How many labs stand at once
    #[arg(long, value_name = "N", default_value_t = default_jobs(), value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// How long one case may take, in seconds
    #[arg(long, value_name = "S", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Multiply every deadline, for slow machines
    #[arg(long, value_name = "X", value_parser = time_scale, env = "NETPROOF_TIME_SCALE")]
    time_scale: Option<f64>,
    /// Stop at the first failure that counts
    #[arg(long)]
    fail_fast: bool,
    /// Failures that are known, with their reasons: a file for the one implementation that is graded
    #[arg(long, value_name = "FILE")]
    deviations: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a reader
    Text,
    /// What report.json has
    Json,
    /// The Test Anything Protocol
    Tap,
}

#[derive(Clone, Copy, ValueEnum)]
enum AtLeast {
    Must,
    Should,
    May,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// What every container network should do: the MUST cases on `gateway-one-subnet`, `publish` and `internal`
    Core,
    /// Every case on every topology
    Full,
}

impl From<AtLeast> for Level {
    fn from(level: AtLeast) -> Self {
        match level {
            AtLeast::Must => Self::Must,
            AtLeast::Should => Self::Should,
            AtLeast::May => Self::May,
        }
    }
}

impl Args {
    /// The lowest level whose failures count.
    fn level(&self) -> Level {
        let is_listed = self.driver.is_empty() || self.deviations.is_some();
        self.level.map_or(if is_listed { Level::May } else { Level::Must }, Into::into)
    }
}

pub(crate) fn run(args: &Args) -> Ended {
    if let Some(factor) = args.time_scale {
        netproof::set_time_scale(factor);
    }
    let items = items(args)?;
    let deviations = args.deviations.as_deref().map(Deviations::read).transpose()?;
    netproof::environment::ready().map_err(|error| Wrong::environment(error.to_string()))?;
    let subjects = subjects(args)?;
    if deviations.is_some() && subjects.len() > 1 {
        return Err(Wrong::new("--deviations is about one implementation, and several are to be graded"));
    }
    let stop = stopped_by_signals()?;
    let mut report = Report::new();
    let mut stale = Vec::new();
    for subject in &subjects {
        if stop.is_set() {
            break;
        }
        let mut outcomes = with_progress(subject, &items, args, &stop);
        let Description { name, version, .. } = &subject.description;
        let known = match &deviations {
            Some(known) => known.clone(),
            None => shipped::deviations(subject)?,
        };
        let known = known.of_version(version);
        known.apply(&mut outcomes);
        let unused = known.unused(&outcomes);
        if !known.is_about(version) {
            let (about, spare) = (known.versions.join(", "), unused.len());
            let version = if version.is_empty() { "of an unknown version" } else { version };
            anstream::eprintln!(
                "{name} {version}: the list of known failures is about {about}; {spare} of those did not occur here"
            );
        } else if !stop.is_set() {
            stale.extend(unused.into_iter().map(|known| format!("{name}: {}", known.name())));
        }
        report.add(subject, outcomes);
    }
    report.interrupted = stop.is_hasty();
    finish(args, &report, &stale)
}

/// What is to be tried.
pub(super) fn items(args: &Args) -> Result<Vec<Item>, Wrong> {
    let mut items = select::items(&args.names)?;
    if args.profile == Profile::Core {
        items.retain(select::is_core);
        if items.is_empty() {
            return Err(Wrong::new(
                "none of the cases is in the profile `core`, which has those of level MUST on gateway-one-subnet, publish and \
                 internal",
            ));
        }
    }
    if let Some(path) = &args.topology {
        let topology = Topology::from_file(path)?;
        items = select::on_topology(items, &topology)?;
        if items.is_empty() {
            let name = &topology.name;
            return Err(Wrong::new(format!("none of the cases applies to a topology of the shape of `{name}`")));
        }
    }
    Ok(items)
}

/// Who is to be graded, each once.
fn subjects(args: &Args) -> Result<Vec<Subject>, Wrong> {
    let mut subjects: Vec<Subject> = Vec::new();
    if args.all {
        for subject in shipped::all() {
            let subject = subject?;
            match subject.missing() {
                Some(missing) => anstream::eprintln!("{missing}"),
                None => subjects.push(subject),
            }
        }
    }
    for name in &args.implementation {
        if subjects.iter().all(|known| known.description.name != *name) {
            subjects.push(installed(shipped::implementation(name)?)?);
        }
    }
    for path in &args.driver {
        let subject = installed(shipped::driver(path)?)?;
        if subjects.iter().all(|known| known.driver != subject.driver) {
            subjects.push(subject);
        }
    }
    if subjects.is_empty() {
        subjects.push(shipped::native());
    }
    subjects.iter().try_for_each(|subject| claims_what_there_is(subject, args.topology.is_some()))?;
    if subjects.iter().any(|subject| subject.description.name != "native") {
        hidden_programs();
    }
    Ok(subjects)
}

/// A driver whose topologies nobody knows would be found without fault, for nothing would be asked of it.
fn claims_what_there_is(subject: &Subject, is_own: bool) -> Result<(), Wrong> {
    let Description { name, topologies, .. } = &subject.description;
    let unknown: Vec<Error> = topologies
        .iter()
        .filter(|topology| *topology != "*")
        .filter_map(|topology| Topology::shipped(topology).err())
        .collect();
    for error in unknown.iter().filter(|_| !is_own) {
        anstream::eprintln!("{name}: describe: {error}");
    }
    if !is_own && unknown.len() == topologies.len() {
        return Err(Wrong::new(format!(
            "{name}: describe: `topologies` names none that is known here: nothing could be tried"
        )));
    }
    Ok(())
}

/// Drivers do not see what is on `PATH` below folders that a lab has of its own: what is graded then is the system's.
fn hidden_programs() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if ["/tmp", "/run", "/dev"].iter().any(|hidden| real.starts_with(hidden)) && real.is_dir() {
            anstream::eprintln!(
                "{} is on PATH, and drivers do not see it: labs have /tmp, /run and /dev of their own; move it elsewhere",
                folder.display()
            );
        }
    }
}

/// Who was asked for by name is to be there: a run that tried nothing of theirs would look like one that found nothing.
pub(super) fn installed(subject: Subject) -> Result<Subject, Wrong> {
    subject.missing().map_or(Ok(subject), |missing| Err(Wrong::environment(missing)))
}

/// Tries the items, with a bar on a terminal and a line for each failure as it comes.
fn with_progress(subject: &Subject, items: &[Item], args: &Args, stop: &Stop) -> Vec<Outcome> {
    let style = "{spinner} {prefix} {pos}/{len} {wide_msg} {elapsed}";
    let bar = match args.format {
        Format::Text => progress(items.len(), style, &subject.description.name),
        _ => ProgressBar::hidden(),
    };
    let failed = AtomicUsize::new(0);
    let options = Options {
        jobs: args.jobs.into(),
        timeout: Duration::from_secs(args.timeout),
        fail_fast: args.fail_fast.then(|| args.level()),
    };
    let outcomes = grade(subject, items, &options, stop, &|outcome| {
        if matches!(outcome.verdict, Verdict::Fail | Verdict::Error) {
            let failed = failed.fetch_add(1, Ordering::Relaxed) + 1;
            bar.set_prefix(format!("{} ({failed} failed)", subject.description.name));
            let (style, word) = (Style::of(outcome.verdict), Style::word(outcome.verdict));
            if !bar.is_hidden() {
                bar.suspend(|| anstream::eprintln!("{style}{word}{style:#} {} on {}", outcome.id, outcome.topology));
            }
        }
        bar.set_message(outcome.id.clone());
        bar.inc(1);
    });
    bar.finish_and_clear();
    outcomes
}

/// Tells what came of it, and returns the exit status.
fn finish(args: &Args, report: &Report, stale: &[String]) -> Ended {
    // Before anything is printed, which may fail.
    if let Some(folder) = &args.report {
        let written = report.write(folder);
        written.map_err(|error| Wrong::new(format!("writing the report into {}: {error}", folder.display())))?;
    }
    match args.format {
        Format::Text => print(&text(report, &again(args)))?,
        Format::Json => print(&(serde_json::to_string_pretty(report)? + "\n"))?,
        Format::Tap => print(&tap(report))?,
    }
    for name in stale {
        anstream::eprintln!("{name} is listed as a known failure, and does not fail any more: take the line out");
    }
    let status = report.status(args.level());
    let is_idle = report.outcomes().all(|outcome| outcome.verdict == Verdict::Unsupported);
    let if_fine = match (stale.is_empty(), report.interrupted) {
        (false, _) => 1,
        (true, true) => 130,
        // A run that tried nothing would look like one that found nothing.
        (true, false) if is_idle => return Err(Wrong::environment("nothing could be tried: all is unsupported")),
        (true, false) => 0,
    };
    Ok(if status == 0 { if_fine } else { status })
}

/// How a case of this run is tried again.
fn again(args: &Args) -> Again<'_> {
    let deviations = args.deviations.as_ref().map(|path| format!(" --deviations {}", path.display()));
    let timeout = (args.timeout != TIMEOUT).then(|| format!(" --timeout {}", args.timeout));
    let scale = args.time_scale.map(|scale| format!(" --time-scale {scale}"));
    let options = [deviations, timeout, scale].into_iter().flatten().collect();
    Again { topology: args.topology.as_deref(), options }
}

/// How long one case may take, in seconds.
const TIMEOUT: u64 = 120;

/// The first signal ends the run, with a report of what was done; a second one ends the process at once.
pub(crate) fn stopped_by_signals() -> Result<Arc<Stop>, Wrong> {
    let stop = Arc::new(Stop::default());
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let told = Arc::clone(&stop);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if told.is_hasty() {
                std::process::exit(128 + signal);
            }
            told.now();
            anstream::eprintln!("stopping; once more to end at once");
        }
    })?;
    Ok(stop)
}

/// Four times as many labs as processors: most of a case's time is spent waiting for a reply, or for none.
fn default_jobs() -> u16 {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors * 4).unwrap_or(16)
}

/// What `--implementation` does, and which there are.
pub(super) fn implementation_help(what: &str, more: &str) -> String {
    let names = shipped::names().collect::<Vec<_>>().join(", ");
    format!("{what} an implementation that comes with the command: {names}{more} [default: native]")
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.1..=1000.0).contains(&factor) => Ok(factor),
        _ => Err(format!("`{text}` is no factor from 0.1 to 1000")),
    }
}
