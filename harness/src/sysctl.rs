//! Sysctls of a network namespace: `/proc/sys/net`, as the thread inside sees it.

use std::{fs, io, os::unix::fs::FileExt};

use rustix::{
    fs::{Mode, OFlags, open, openat},
    io::Errno,
};

use crate::{Error, Namespace, Result};

impl Namespace {
    /// Sets sysctls, all from one thread inside. Equivalent to `sysctl -w NAME=VALUE`.
    ///
    /// Names are the kernel's, with dots: `net.ipv4.conf.br0.rp_filter`; a dot within a device's name is written `/`.
    pub fn set_sysctls<N: AsRef<str> + Sync>(&self, settings: &[(N, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in settings {
                let (name, path) = (name.as_ref(), path_here(name.as_ref())?);
                if takes_rtnl(name) {
                    self.wait_for_rtnl();
                }
                fs::write(path, value)
                    .map_err(|error| Error::kernel(format!("setting sysctl {name}={value}"), self.name(), error))?;
            }
            Ok(())
        })?
    }

    /// Waits, asleep, until the RTNL lock was free: any question about a link takes it.
    fn wait_for_rtnl(&self) {
        let _ = self.link_if_there("lo");
    }

    /// Sets one sysctl. Equivalent to `sysctl -w NAME=VALUE`.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.set_sysctls(&[(name, value)])
    }

    /// What a sysctl is set to, without the line's end. Equivalent to `sysctl -n NAME`.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        self.run(|| self.read_here(name))?
    }

    /// Like [`Namespace::sysctl`]; `None` where this kernel does not have it.
    pub fn sysctl_if_there(&self, name: &str) -> Result<Option<String>> {
        if_there(self.sysctl(name))
    }

    /// Like [`Namespace::sysctl_if_there`] for each of these, all from one thread inside.
    pub fn sysctls_if_there<N: AsRef<str> + Sync>(&self, names: &[N]) -> Result<Vec<Option<String>>> {
        self.run(|| names.iter().map(|name| if_there(self.read_here(name.as_ref()))).collect())?
    }

    fn read_here(&self, name: &str) -> Result<String> {
        let read = fs::read_to_string(path_here(name)?);
        let text = read.map_err(|error| Error::kernel(format!("reading sysctl {name}"), self.name(), error))?;
        Ok(text.trim_end().to_owned())
    }
}

fn if_there(read: Result<String>) -> Result<Option<String>> {
    match read {
        Err(Error::Kernel { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Whether to write it tries the RTNL lock again and again, which burns a processor's time for as long as somebody
/// else holds it.
fn takes_rtnl(name: &str) -> bool {
    ["forward", "forwarding", "disable_ipv6"].iter().any(|end| name.ends_with(end))
}

/// What one sysctl is to be.
pub(crate) struct Sysctl {
    /// The folder in `/proc/sys/net`.
    pub(crate) folder: &'static str,
    /// The path below that.
    pub(crate) path: String,
    pub(crate) value: &'static str,
}

/// Sets those that this kernel has, from a thread that is inside; what it does not have, it cannot get wrong.
///
/// Those of one folder stand together: the kernel keeps the folders of all namespaces in one list, so that opening one
/// costs as much as there are namespaces. What is as wanted is not written: see [`takes_rtnl`].
pub(crate) fn set_here(sysctls: &[Sysctl]) -> Result<(), (String, io::Error)> {
    for of_folder in sysctls.chunk_by(|one, next| one.folder == next.folder) {
        let path = format!("/proc/sys/net/{}", of_folder[0].folder);
        let folder = match open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened.map_err(|error| (path.clone(), error.into()))?,
        };
        for sysctl in of_folder {
            let failed = |error: io::Error| (format!("{path}/{}={}", sysctl.path, sysctl.value), error);
            match openat(&folder, &sysctl.path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT) => {}
                file => ensure(&file.map_err(|error| failed(error.into()))?.into(), sysctl.value).map_err(failed)?,
            }
        }
    }
    Ok(())
}

/// Writes a sysctl that reads otherwise. The kernel may separate numbers by other space than they are written with.
fn ensure(file: &fs::File, value: &str) -> io::Result<()> {
    let mut is = [0; 64];
    let length = file.read_at(&mut is, 0)?;
    if String::from_utf8_lossy(&is[..length]).split_ascii_whitespace().eq(value.split_ascii_whitespace()) {
        return Ok(());
    }
    file.write_all_at(value.as_bytes(), 0)
}

/// Others than those of a network namespace are the machine's own.
fn path_here(name: &str) -> Result<String> {
    if name.starts_with("net.") {
        return Ok(path(name));
    }
    Err(Error::Usage(format!("sysctl {name} is the whole machine's: only those under net. are of a namespace")))
}

/// `net.ipv4.conf.eth0/10.rp_filter` is `/proc/sys/net/ipv4/conf/eth0.10/rp_filter`.
pub(crate) fn path(name: &str) -> String {
    let swapped: String = name
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    format!("/proc/sys/{swapped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sysctl is set in its namespace only.
    #[test]
    fn a_sysctl_is_of_one_namespace() {
        let (one, other) = (Namespace::new("one").unwrap(), Namespace::new("other").unwrap());
        one.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
        other.set_sysctl("net.ipv4.ip_forward", "0").unwrap();
        assert_eq!(one.sysctl("net.ipv4.ip_forward").unwrap(), "1");
        assert_eq!(other.sysctl("net.ipv4.ip_forward").unwrap(), "0");
        assert_eq!(one.sysctl_if_there("net.ipv4.no_such").unwrap(), None);
        let several = one.sysctls_if_there(&["net.ipv4.no_such", "net.ipv4.ip_forward"]).unwrap();
        assert_eq!(several, [None, Some("1".to_owned())]);
        let error = one.set_sysctl("net.ipv4.no_such", "1").unwrap_err().to_string();
        assert!(error.contains("net.ipv4.no_such=1 in namespace one"), "{error}");
    }

    /// What is not of a network namespace is refused, written or read, before anything is opened.
    #[test]
    fn the_machines_own_sysctls_are_refused() {
        let one = Namespace::new("one").unwrap();
        let error = one.set_sysctl("kernel.threads-max", "1").unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
        assert!(matches!(one.sysctl("/net.ipv4.ip_forward").unwrap_err(), Error::Usage(_)));
    }

    /// Dots and slashes change places, as sysctl(8) says.
    #[test]
    fn a_dot_in_a_device_name_is_a_slash() {
        assert_eq!(path("net.ipv4.conf.eth0/10.rp_filter"), "/proc/sys/net/ipv4/conf/eth0.10/rp_filter");
    }
}
