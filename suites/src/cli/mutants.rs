//! `netproof mutants`

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use netproof_suites::{
    mutant::{Mutant, Trial, unproven},
    report::Style,
    run::{Stop, Verdict},
};

use super::{Ended, Wrong, print, progress, run::stopped_by_signals};

/// Which mutants
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Mutants by name, or files of your own; all that come with the command, for none
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,
    /// Only every Nth, for a quick look
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    every: u16,
    /// Write mutants.json into this folder: every case's outcome on every mutant
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How many mutants are tried at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
}

pub(crate) fn run(args: &Args) -> Ended {
    let shipped = Mutant::shipped()?;
    let chosen = chosen(args, &shipped)?;
    netproof::environment::ready().map_err(|error| Wrong::environment(error.to_string()))?;
    let stop = stopped_by_signals()?;
    let trials = attempt(&chosen, args, &stop);
    let mut text = String::new();
    for trial in &trials {
        text += &told(trial);
    }
    let caught = trials.iter().filter(|trial| trial.is_caught()).count();
    text += &format!("{caught} of {} caught\n", trials.len());
    for case in unproven(&shipped) {
        text += &format!("no mutant fails {case}, which is a MUST\n");
    }
    // Before anything is printed, which may fail.
    if let Some(folder) = &args.report {
        write(folder, &trials)
            .map_err(|error| Wrong::new(format!("writing the report into {}: {error}", folder.display())))?;
    }
    print(&text)?;
    Ok(match (caught < trials.len(), stop.is_set()) {
        (true, _) => 1,
        (false, true) => 130,
        (false, false) => 0,
    })
}

fn chosen(args: &Args, shipped: &[Mutant]) -> Result<Vec<Mutant>, Wrong> {
    if args.names.is_empty() {
        return Ok(shipped.iter().step_by(args.every.into()).cloned().collect());
    }
    let one = |name: &String| {
        if name.ends_with(".toml") {
            return Mutant::read(Path::new(name)).map_err(Wrong::new);
        }
        let known = shipped.iter().find(|mutant| mutant.name == *name).cloned();
        known.ok_or_else(|| {
            let nearest = netproof::topology::nearest(name, shipped.iter().map(|mutant| mutant.name.as_str()));
            let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
            Wrong::new(format!("no mutant is called `{name}`{hint}"))
        })
    };
    args.names.iter().map(one).collect()
}

/// How many labs of one mutant stand at once: those in which a case fails wait for what does not come.
const LABS: usize = 8;

fn attempt(mutants: &[Mutant], args: &Args, stop: &Stop) -> Vec<Trial> {
    let total = mutants.iter().map(|mutant| mutant.items().len()).sum();
    let bar = progress(total, "{prefix} [{bar:30}] {pos}/{len} {wide_msg}", "mutants");
    let queue: Mutex<VecDeque<&Mutant>> = Mutex::new(mutants.iter().collect());
    let done = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while !stop.is_set()
                    && let Some(mutant) = next()
                {
                    bar.set_message(mutant.name.clone());
                    let trial = mutant.attempt(LABS, Duration::from_secs(120), stop, &|_| bar.inc(1));
                    // What was not tried to the end was not missed.
                    if trial.cases.len() < mutant.items().len() {
                        continue;
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(trial);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut trials = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    trials.sort_by(|one: &Trial, other| one.name.cmp(&other.name));
    trials
}

fn told(trial: &Trial) -> String {
    let (verdict, word) = if trial.is_caught() { (Verdict::Pass, "caught") } else { (Verdict::Fail, "MISSED") };
    let style = Style::of(verdict);
    let mut text = format!("{style}{word}{style:#}  {}: {} ({} failed)\n", trial.name, trial.fault, trial.failed());
    for problem in &trial.problems {
        text += &format!("        {problem}\n");
    }
    text
}

fn write(folder: &Path, trials: &[Trial]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("mutants.json"), serde_json::to_string_pretty(trials)? + "\n")
}
