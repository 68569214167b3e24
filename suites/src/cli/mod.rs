//! The command line.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use indicatif::{ProgressBar, ProgressStyle};

mod compare;
mod deviations;
mod doctor;
mod explain;
mod implementations;
mod list;
mod matrix;
mod mutants;
mod run;
mod select;
mod shell;

/// Something that the user has to put right, told on standard error.
#[derive(Debug)]
pub(crate) struct Wrong {
    message: String,
    status: u8,
}

/// How a subcommand ends: an exit status, or something that the user has to put right.
pub(crate) type Ended = Result<u8, Wrong>;

impl Wrong {
    /// Wrong usage or input: exit status 2.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// This environment cannot run it: exit status 3.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 3 }
    }
}

impl<E: std::fmt::Display> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Grades container-style networking: does it do what it should?
///
/// Every case runs in a lab of fresh network namespaces: this machine's own links, routes, rules and sysctls are never
/// touched. Needs root, or a user who may make user namespaces: `netproof doctor` tells what is missing.
#[derive(Parser)]
#[command(name = "netproof", version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
    0  nothing that counts failed (what is unsupported is shown)
    1  a failure that counts, a listed failure that is none any more,
       a report that got worse, or a fault that was missed
    2  wrong usage or input
    3  nothing could be tried here, or a case ended in an error
  130  the run was interrupted, and nothing that counts had failed";

#[derive(Subcommand)]
enum Command {
    /// Try cases on implementations
    Run(run::Args),
    /// List every case
    List(list::Args),
    /// Tell what a case claims, with a picture, its source, and what failing would mean; or draw a topology
    Explain(explain::Args),
    /// Open a shell in a lab: as an implementation builds a topology, or where a case fails
    ///
    /// Of a topology, the implementation builds it first. A case is tried first, and the shell opens where it failed, in
    /// the lab as the case left it. There, `ip netns exec netns1 COMMAND` runs a command in a node (with `--in netns1`, /sys
    /// is still that of `host`). What is written to /etc, /var, /run and /tmp is gone with the lab, and the lab with the
    /// shell. Exits as the shell, or COMMAND, does.
    Shell(shell::Args),
    /// Tell what labs need of this machine, what is missing, and how to get it
    Doctor,
    /// List the implementations that come with the command: versions, topologies, how to install what is missing
    Implementations(implementations::Args),
    /// Print a report as a page of Markdown: implementations against suites
    Matrix(matrix::Args),
    /// Print a report's failures as a list of known ones, to begin with: `netproof run --deviations FILE`
    Deviations(deviations::Args),
    /// Tell what changed between two reports
    Compare(compare::Args),
    /// Try whether the cases notice faults: the built-in implementation with one fault each
    Mutants(mutants::Args),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

pub(crate) fn main() -> ExitCode {
    // Before there is a second thread: a user namespace can only be entered while there is one.
    netproof::enter_now();
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::List(args) => list::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor => doctor::run(),
        Command::Compare(args) => compare::run(&args),
        Command::Deviations(args) => deviations::run(&args),
        Command::Implementations(args) => implementations::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "netproof", &mut script);
            print(&String::from_utf8_lossy(&script)).map(|()| 0)
        }
    };
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(Wrong { message, status }) => {
            anstream::eprintln!("{RED}error:{RED:#} {message}");
            ExitCode::from(status)
        }
    }
}

const RED: anstyle::Style = anstyle::Style::new().bold().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)));

/// Prints the text, without its colours where nobody would see them. Who reads only its start (`| head`) may.
pub(crate) fn print(text: &str) -> Result<(), Wrong> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A bar that shows how far something is; nothing where there is no terminal.
pub(crate) fn progress(length: usize, style: &str, prefix: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(prefix.to_owned());
    bar
}

/// A file that a message names.
pub(crate) fn reading(path: &std::path::Path, error: impl std::fmt::Display) -> Wrong {
    Wrong::new(format!("reading {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The commands that a document shows, in blocks and between backticks, but for those with words to put something in.
    fn commands(text: &'static str) -> Vec<Vec<&'static str>> {
        let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- run: ").trim_start_matches("$ "));
        let inline = text.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
        let words =
            |line: &'static str| line.split(['#', '&', '>', ';']).next().unwrap_or(line).split_whitespace().collect();
        let is_place = |word: &&str| word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase());
        let is_whole = |words: &Vec<&str>| words.len() > 1 && words[1] != "=" && !words.iter().any(is_place);
        let commands = lines.chain(inline).filter(|line| line.starts_with("netproof "));
        commands.map(words).filter(is_whole).collect()
    }

    /// Every command that the documents show is one, and what it names is there.
    #[rstest]
    #[case(include_str!("../../../README.md"), 8)]
    #[case(include_str!("../../../CONTRIBUTING.md"), 1)]
    #[case(include_str!("../../../docs/regression.md"), 1)]
    #[case(include_str!("../../../docs/writing-a-driver.md"), 1)]
    fn what_documents_show_works(#[case] text: &'static str, #[case] at_least: usize) {
        let commands = commands(text);
        assert!(commands.len() >= at_least, "{commands:?}");
        for words in commands {
            let command = match Cli::try_parse_from(&words) {
                Ok(cli) => cli.command,
                // The command's name alone, as in a sentence about it.
                Err(error) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => continue,
                Err(error) => panic!("{words:?}: {error}"),
            };
            let found = match command {
                Command::Run(args) => run::items(&args).map(|items| items.len()),
                Command::Explain(args) => explain::items(&args).map(|items| items.len()),
                Command::Shell(args) => shell::meant(&args).map(|_| 1),
                _ => Ok(1),
            };
            assert!(found.unwrap_or_else(|wrong| panic!("{words:?}: {}", wrong.message)) > 0);
        }
    }
}
