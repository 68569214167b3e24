//! The implementations that come with the command, and the way to anybody's.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::Path,
    sync::Arc,
    thread,
};

use netproof::{
    Error, Lab, Result, Topology,
    implement::{Driver, Native, Shared},
};

use crate::{deviation::Deviations, run::Subject};

/// A driver that comes with the command.
struct Shipped {
    name: &'static str,
    /// What is in its folder: paths and texts.
    files: &'static [(&'static str, &'static str)],
    deviations: &'static str,
}

macro_rules! fixture {
    ($($part:expr),*) => { include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $($part),*)) };
}

macro_rules! shipped {
    ($($name:literal: $($file:literal)*;)*) => {
        [$(Shipped {
            name: $name,
            files: &[$(($file, fixture!("drivers/", $name, "/", $file))),*],
            deviations: fixture!("deviations/", $name, ".toml"),
        }),*]
    };
}

static SHIPPED: &[Shipped] = &shipped! {
    "article": "driver";
    "cni": "driver" "kit.py";
    "docker": "driver" "kit.py";
    "ifupdown2": "driver" "kit.py";
    "iproute2":
        "driver" "parts/__init__.py" "parts/conntrack.py" "parts/foreign.py" "parts/links.py" "parts/rules.py"
        "parts/tools.py";
    "libvirt": "driver" "kit.py";
    "lxc": "driver" "kit.py";
    "mininet": "driver" "kit.py";
    "netavark": "driver" "kit.py" "netavark.py";
    "netavark2": "driver" "kit.py" "netavark.py";
    "networkd": "driver" "kit.py";
    "networkmanager": "driver" "kit.py";
    "nspawn": "driver" "kit.py";
    "podman": "driver" "kit.py";
};

/// The names of those that come with the command.
pub fn names() -> impl Iterator<Item = &'static str> {
    ["native"].into_iter().chain(SHIPPED.iter().map(|shipped| shipped.name))
}

/// The built-in implementation.
///
/// # Panics
/// Never: it describes itself without asking anybody.
#[must_use]
pub fn native() -> Subject {
    let implementation = Arc::new(Native::default());
    Subject { description: Native::description(), implementation, driver: None }
}

/// An implementation that comes with the command.
pub fn implementation(name: &str) -> Result<Subject> {
    if name == "native" {
        return Ok(native());
    }
    let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == name) else {
        let known: Vec<&str> = names().collect();
        let nearest = netproof::topology::nearest(name, names());
        let hint = nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
        let known = known.join(", ");
        return Err(Error::Usage(format!("no implementation is called `{name}`; {hint}There are {known}")));
    };
    described(Arc::new(Driver::embedded(shipped.name, shipped.files)), None)
}

/// Every implementation that comes with the command, whether it is installed or not, or why it cannot be asked; they are
/// asked side by side.
#[must_use]
pub fn all() -> Vec<Result<Subject, String>> {
    let ask = |name| implementation(name).map_err(|error| format!("asking {name} what it is: {error}"));
    thread::scope(|scope| {
        let asked: Vec<_> = names().map(|name| scope.spawn(move || ask(name))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// The implementation that a driver attaches.
pub fn driver(path: &Path) -> Result<Subject> {
    let driver = Driver::new(path)?;
    let path = driver.path().canonicalize().unwrap_or_else(|_| driver.path().to_owned());
    described(Arc::new(driver), Some(path))
}

/// Asks an implementation what it is, in an empty lab.
fn described(implementation: Shared, driver: Option<std::path::PathBuf>) -> Result<Subject> {
    let lab = Lab::builder(Topology::shipped("pair")?).implementation(implementation.clone()).prepare()?;
    let description = implementation.describe(lab.site())?;
    Ok(Subject { description, implementation, driver })
}

/// Writes the driver of one that comes with the command, and its list of known failures, into a new folder.
pub fn copy(name: &str, folder: &Path) -> Result<(), String> {
    let shipped = SHIPPED.iter().find(|shipped| shipped.name == name);
    let shipped = shipped.ok_or_else(|| match name {
        "native" => "the built-in implementation has no driver".to_owned(),
        _ => implementation(name).err().map(|error| error.to_string()).unwrap_or_default(),
    })?;
    let failed = |path: &Path, error: std::io::Error| format!("writing {}: {error}", path.display());
    fs::create_dir(folder).map_err(|error| failed(folder, error))?;
    for (file, text) in shipped.files.iter().copied().chain([("deviations.toml", shipped.deviations)]) {
        let path = folder.join(file);
        let above = path.parent().unwrap_or(folder);
        fs::create_dir_all(above).map_err(|error| failed(above, error))?;
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
        let mode = if file == "driver" { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// What a shipped implementation is known to fail.
pub fn deviations(subject: &Subject) -> Result<Deviations, String> {
    let name = &subject.description.name;
    match SHIPPED.iter().find(|shipped| shipped.name == name && subject.driver.is_none()) {
        Some(shipped) => Deviations::parse(&format!("{name}.toml"), shipped.deviations),
        None => Ok(Deviations::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is called what its folder is called, and its deviations make sense.
    #[test]
    fn all_are_whole() {
        for (subject, name) in all().into_iter().zip(names()) {
            let subject = subject.unwrap();
            assert_eq!(subject.description.name, name);
            deviations(&subject).unwrap();
        }
    }

    /// Every file of each driver's folder is in the command.
    #[test]
    fn no_file_is_left_out() {
        fn files(folder: &Path) -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
        }
        let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/drivers");
        let mut found = files(&drivers);
        let of_each =
            |shipped: &Shipped| shipped.files.iter().map(|(file, _)| (shipped.name, *file)).collect::<Vec<_>>();
        let mut known: Vec<_> =
            SHIPPED.iter().flat_map(of_each).map(|(name, file)| drivers.join(name).join(file)).collect();
        // What several share is in each by a link.
        found.retain(|path| path.parent() != Some(drivers.as_path()));
        found.sort();
        known.sort();
        assert_eq!(found, known);
    }

    /// A copy of a driver's folder is a driver, with a list of what it is known to fail.
    #[test]
    fn a_copy_is_a_driver() {
        let folder = tempfile::tempdir().unwrap();
        let copied = folder.path().join("mine");
        copy("iproute2", &copied).unwrap();
        assert_eq!(driver(&copied.join("driver")).unwrap().description.name, "iproute2");
        Deviations::read(&copied.join("deviations.toml")).unwrap();
        assert!(copy("iproute2", &copied).unwrap_err().ends_with("File exists (os error 17)"));
        assert!(copy("native", &copied).unwrap_err().contains("no driver"));
        assert!(copy("netavrk", &copied).unwrap_err().contains("did you mean `netavark`?"));
    }

    /// The built-in implementation says of itself what it says when it is asked.
    #[test]
    fn native_is_what_it_says() {
        let native = native();
        let lab = Lab::builder(Topology::shipped("pair").unwrap()).prepare().unwrap();
        assert_eq!(native.implementation.describe(lab.site()).unwrap(), native.description);
    }
}
