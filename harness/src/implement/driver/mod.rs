//! An implementation that is a program: the driver protocol, of which the page is `docs/driver-protocol.md`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf, absolute},
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Value, json};

use self::answer::{Answer, Ended, How, NOT_SUPPORTED};
use super::{Implementation, Site};
use crate::{
    Deadline, Error, Result, Topology,
    protocol::{Description, Reply, Request, VERSION},
};

mod answer;

/// A topology that does not exist, and a verb: both must get exit status 89.
const UNKNOWN_TOPOLOGY: &str = "no-such-topology";
const UNKNOWN_VERB: &str = "no-such-verb";

/// A program that builds topologies, in any language.
///
/// ```no_run
/// use std::sync::Arc;
/// use netproof::{Lab, Topology, implement::Driver};
///
/// let driver = Arc::new(Driver::new("./mine")?);
/// let lab = Lab::builder(Topology::shipped("pair")?).implementation(driver).up()?;
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Debug)]
pub struct Driver {
    path: PathBuf,
    /// Its folder's files, where it is none of the machine's: paths below the folder, and texts.
    files: Vec<(String, String)>,
    /// How long a call may take, before scaling and the nodes' share.
    limit: Duration,
    /// What it said of itself when it was first asked.
    description: OnceLock<Description>,
}

impl Driver {
    /// The driver at this path. What is not an executable file is an error.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let wrong = |why: String| Error::Usage(format!("driver {}: {why}", path.display()));
        let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        let inside = path.join("driver");
        if metadata.is_dir() && inside.is_file() {
            return Err(wrong(format!("a folder; did you mean {}?", inside.display())));
        }
        if !metadata.is_file() {
            return Err(wrong("not a file".into()));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(wrong(format!("not executable: chmod +x {}", path.display())));
        }
        let path = absolute(path).map_err(|error| wrong(error.to_string()))?;
        Ok(Self::at(path, Vec::new()))
    }

    /// A driver whose folder has these files, of which `driver` is the program: pairs of a path below the folder and a
    /// text. They are written into each lab that it builds in, and nowhere on the machine.
    #[must_use]
    pub fn embedded(name: &str, files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self::at(Path::new("/run/netproof").join(name).join("driver"), files.collect())
    }

    fn at(path: PathBuf, files: Vec<(String, String)>) -> Self {
        Self { path, files, limit: Duration::from_secs(30), description: OnceLock::new() }
    }

    /// How long a call may take besides 1 s a node, before scaling, instead of 30 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Where it is: an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for a verb and a topology that do not exist. Any answer but exit status 89 is an error.
    ///
    /// The site must be one where nothing is built. A driver that builds any topology is asked for the verb only.
    pub fn probe_unknown(&self, site: &Site) -> Result<()> {
        let mut topology = Topology::shipped("pair")?;
        self.must_refuse(site, UNKNOWN_VERB, &Request::new(&topology), &format!("verb `{UNKNOWN_VERB}`"))?;
        if self.description.get().is_some_and(|said| said.claims(UNKNOWN_TOPOLOGY)) {
            return Ok(());
        }
        topology.name = UNKNOWN_TOPOLOGY.into();
        self.must_refuse(site, "up", &Request::new(&topology), &format!("topology `{UNKNOWN_TOPOLOGY}`"))
    }

    fn must_refuse(&self, site: &Site, verb: &str, request: &Request, what: &str) -> Result<()> {
        let ended = self.call(site, verb, request)?;
        let did = match ended.plain() {
            Ok(Answer::NotSupported) => return Ok(()),
            Ok(Answer::Done(())) => "exited with status 0".into(),
            Err(how) => how,
        };
        let message = format!("{did} for {what}, which does not exist; {NOT_SUPPORTED} is the right status");
        Err(self.failed(verb, message, &ended))
    }

    /// A verb whose answer is an exit status.
    fn act(&self, site: &Site, verb: &str, request: &Request) -> Result<()> {
        let ended = self.call(site, verb, request)?;
        match ended.plain() {
            Ok(Answer::Done(())) => Ok(()),
            Ok(Answer::NotSupported) => Err(self.not_supported(verb, request, &ended)),
            Err(message) => Err(self.failed(verb, message, &ended)),
        }
    }

    /// A verb whose answer is a reply.
    fn build(&self, site: &Site, verb: &str, request: &Request) -> Result<Reply> {
        let ended = self.call(site, verb, request)?;
        match ended.object() {
            Ok(Answer::Done(reply)) => Ok(reply.unwrap_or_default()),
            Ok(Answer::NotSupported) => Err(self.not_supported(verb, request, &ended)),
            Err(message) => Err(self.failed(verb, message, &ended)),
        }
    }

    fn call(&self, site: &Site, verb: &str, request: &Request) -> Result<Ended> {
        self.call_with(site, verb, &request.to_json(), request.topology.nodes.len())
    }

    fn call_with(&self, site: &Site, verb: &str, input: &Value, nodes: usize) -> Result<Ended> {
        let deadline = Deadline::after(self.limit + Duration::from_secs(nodes as u64));
        let world = site.world()?;
        if let (false, Some(folder)) = (self.files.is_empty(), self.path.parent()) {
            world.write_folder(folder, &self.files)?;
        }
        let command = world.command(&self.path).arg(verb).stdin(input.to_string());
        let output = command.output(deadline).map_err(|error| self.not_run(verb, error))?;
        let how = if output.timed_out { How::TimedOut(deadline.length()) } else { How::Itself(output.status) };
        Ok(Ended { how, stdout: output.stdout, too_much: output.too_much, stderr: output.stderr })
    }

    /// What kept the program from being started, in words that say what to look at.
    fn not_run(&self, verb: &str, error: Error) -> Error {
        let Error::Start { source, hint, .. } = &error else { return error };
        let message = match source.raw_os_error() {
            Some(libc::ENOENT) if !self.path.exists() => format!("is not at {} any more", self.path.display()),
            Some(libc::ENOEXEC | libc::ENOENT) => format!("cannot be executed: {hint}"),
            _ => format!("cannot be executed: {source}"),
        };
        self.error(verb, message, String::new())
    }

    /// An optional verb is called only where the driver says that it has it.
    fn has(&self, verb: &str) -> Result<()> {
        match self.description.get() {
            Some(said) if !said.knows(verb) => {
                Err(Error::Unsupported(format!("{} has no verb `{verb}`", self.label())))
            }
            _ => Ok(()),
        }
    }

    /// Exit status 89 is a failure for what was claimed, and otherwise says that this is not supported.
    fn not_supported(&self, verb: &str, request: &Request, ended: &Ended) -> Error {
        let topology = &request.topology;
        let said = self.description.get();
        let claimed = said.is_some_and(|said| said.knows(verb) && said.claims(&topology.name));
        if claimed && (verb == "down" || is_as_shipped(topology)) {
            let message = format!(
                "exited with status {NOT_SUPPORTED} (not supported) for topology `{}`, which it claims",
                topology.name
            );
            return self.failed(verb, message, ended);
        }
        let evidence = ended.evidence();
        let why = evidence.lines().next().map_or_else(String::new, |line| format!(" ({line})"));
        Error::Unsupported(format!("{} does not support `{verb}` of `{}`{why}", self.label(), topology.name))
    }

    fn failed(&self, verb: &str, message: String, ended: &Ended) -> Error {
        self.error(verb, message, ended.evidence())
    }

    fn error(&self, verb: &str, message: String, evidence: String) -> Error {
        Error::Implementation { implementation: self.label(), verb: verb.into(), message, evidence }
    }

    /// Its name; until it has said it, its file's.
    fn label(&self) -> String {
        let file = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.description.get().map_or_else(file, |said| said.name.clone())
    }
}

impl Implementation for Driver {
    fn folders(&self) -> Vec<PathBuf> {
        if !self.files.is_empty() {
            return Vec::new();
        }
        let real = self.path.canonicalize().ok();
        let mut seen: Vec<PathBuf> =
            [Some(self.path.clone()), real].into_iter().flatten().filter_map(seen_at).collect();
        seen.dedup();
        seen
    }

    fn describe(&self, site: &Site) -> Result<Description> {
        let verb = "describe";
        let ended = self.call_with(site, verb, &json!({ "protocol": VERSION }), 0)?;
        let said: Description = match ended.object() {
            Ok(Answer::Done(Some(said))) => said,
            Ok(Answer::Done(None)) => return Err(self.failed(verb, "printed nothing".into(), &ended)),
            Ok(Answer::NotSupported) => {
                let message = format!("exited with status {NOT_SUPPORTED}; a driver must say what it is");
                return Err(self.failed(verb, message, &ended));
            }
            Err(message) => return Err(self.failed(verb, message, &ended)),
        };
        answer::check(&said).map_err(|message| self.failed(verb, message, &ended))?;
        Ok(self.description.get_or_init(|| said).clone())
    }

    fn up(&self, site: &Site, request: &Request) -> Result<Reply> {
        self.build(site, "up", request)
    }

    fn down(&self, site: &Site, request: &Request) -> Result<()> {
        self.act(site, "down", request)
    }

    fn add(&self, site: &Site, request: &Request) -> Result<Reply> {
        self.has("add")?;
        self.build(site, "add", request)
    }

    fn remove(&self, site: &Site, request: &Request) -> Result<()> {
        self.has("remove")?;
        self.act(site, "remove", request)
    }

    fn reload(&self, site: &Site, request: &Request) -> Result<()> {
        self.has("reload")?;
        self.act(site, "reload", request)
    }

    fn other(&self, verb: &str, site: &Site, request: &Request) -> Result<()> {
        self.act(site, verb, request)
    }
}

/// What has to be shown in a lab for this file to be seen: its folder, or itself where the folder is one that each lab
/// has of its own.
fn seen_at(file: PathBuf) -> Option<PathBuf> {
    match file.parent()?.to_str() {
        Some("/") => None,
        Some("/tmp" | "/run" | "/etc" | "/var" | "/var/tmp" | "/dev" | "/dev/shm") => Some(file),
        _ => file.parent().map(Path::to_path_buf),
    }
}

/// Whether the topology is one that comes with the suite, with nothing asked beyond it.
fn is_as_shipped(topology: &Topology) -> bool {
    Topology::shipped(&topology.name).is_ok_and(|shipped| shipped == *topology)
}
