//! What came of a run.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    SUITE_VERSION,
    case::Level,
    run::{Outcome, Subject, Verdict},
};

mod junit;
mod matrix;
mod tap;
mod text;

pub use self::{
    junit::junit,
    matrix::matrix,
    tap::tap,
    text::{Again, Style, text},
};

/// A run, as `report.json` has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// Which suite was run.
    pub suite: SuiteInfo,
    /// The kernel's release: `6.18.0`.
    pub kernel: String,
    /// The machine.
    pub machine: Machine,
    /// Whether somebody ended it before its time; left out where nobody did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Who was graded.
    pub implementations: Vec<Graded>,
}

/// Which suite was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteInfo {
    /// Its version.
    pub version: String,
}

/// The machine that a run was on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// `x86_64`
    pub architecture: String,
    /// How many processors the run could use.
    pub processors: usize,
    /// Whether it ran in a user namespace of its own.
    pub rootless: bool,
    /// The factor on every deadline.
    pub time_scale: f64,
}

/// One implementation, and what came of its cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Graded {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The driver's path; `None` for the built-in implementation.
    pub driver: Option<String>,
    /// What the driver does because the implementation has no notion of it.
    pub supplies: Vec<String>,
    /// What came of each case on each topology.
    pub cases: Vec<Outcome>,
}

impl Graded {
    /// How many outcomes of a suite's cases have this verdict.
    fn count(&self, suite: &str, verdict: Verdict) -> usize {
        self.cases.iter().filter(|outcome| outcome.suite() == suite && outcome.verdict == verdict).count()
    }
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schema: 1,
            suite: SuiteInfo { version: SUITE_VERSION.into() },
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim_end().to_owned(),
            machine: Machine {
                architecture: std::env::consts::ARCH.into(),
                processors: std::thread::available_parallelism().map_or(1, usize::from),
                rootless: nix::unistd::geteuid().is_root() && is_in_user_namespace(),
                time_scale: netproof::time_scale(),
            },
            interrupted: false,
            implementations: Vec::new(),
        }
    }

    /// Adds what came of one implementation.
    pub fn add(&mut self, subject: &Subject, cases: Vec<Outcome>) {
        let Subject { description, driver, .. } = subject;
        self.implementations.push(Graded {
            name: description.name.clone(),
            version: description.version.clone(),
            driver: driver.as_ref().map(|path| path.display().to_string()),
            supplies: description.supplies.clone(),
            cases,
        });
    }

    /// The report without what differs from run to run: causes, evidence and times.
    #[must_use]
    pub fn bare(&self) -> Self {
        let mut bare = self.clone();
        for outcome in bare.implementations.iter_mut().flat_map(|graded| &mut graded.cases) {
            outcome.cause = None;
            outcome.evidence = None;
            outcome.ms = 0.0;
        }
        bare
    }

    /// How many outcomes have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.outcomes().filter(|outcome| outcome.verdict == verdict).count()
    }

    /// Every outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.implementations.iter().flat_map(|graded| &graded.cases)
    }

    /// The exit status, where failures from `level` up count.
    #[must_use]
    pub fn status(&self, level: Level) -> u8 {
        if self.outcomes().any(|outcome| outcome.verdict == Verdict::Fail && outcome.level >= level) {
            1
        } else if self.count(Verdict::Error) > 0 {
            3
        } else {
            0
        }
    }

    /// Writes `report.json` and `junit.xml` into `folder`, whole or not at all, in the place of those that are there.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.is_file() {
            return Err(io::Error::other("a file, and it is to be a folder"));
        }
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n";
        let junit = junit(self).map_err(io::Error::other)?;
        // Both are on the disk before either takes its name, and once they are, only a folder can be in their way.
        let files = [("report.json", json), ("junit.xml", junit)].map(|(name, text)| {
            if folder.join(name).is_dir() {
                return Err(io::Error::other(format!("{name} is a folder")));
            }
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            Ok((name, file))
        });
        for (name, file) in files.into_iter().collect::<io::Result<Vec<_>>>()? {
            file.persist(folder.join(name)).map_err(|error| error.error)?;
        }
        Ok(())
    }

    /// Reads a `report.json`, or that of a folder.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text =
            if path.is_dir() { fs::read_to_string(path.join("report.json"))? } else { fs::read_to_string(path)? };
        let wrong = |error| io::Error::other(format!("this is no report of netproof's: {error}"));
        let report: Self = serde_json::from_str(&text).map_err(wrong)?;
        if report.schema != 1 {
            return Err(io::Error::other(format!("its schema is {}, and this command reads 1", report.schema)));
        }
        Ok(report)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

/// In the first user namespace every id is mapped to itself.
fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) != Some("4294967295")
}
