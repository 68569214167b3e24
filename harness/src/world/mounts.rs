//! What the world's programs see of the file system.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::{SCRATCH, init::mount_fs};

/// Everything that can be mounted before there is a PID 1; the calling thread is in the new mount namespace.
pub(super) fn before_fork(folders: &[PathBuf]) -> io::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let taken = folders.iter().map(|path| Ok((path, path.is_dir(), take(path)?)));
    let trees = taken.collect::<io::Result<Vec<_>>>()?;
    // The old /tmp is out of sight from here on; what follows is built in the new one, then that is covered in its turn.
    let none = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_fs("tmpfs", "/tmp", none, Some("mode=0755"))?;
    if is_writable_overlay_possible() {
        overlays()?
    } else {
        copies()?
    }
    devices()?;
    mount_fs("sysfs", "/sys", none | MsFlags::MS_NOEXEC, None)?;
    mount_fs("tmpfs", "/run", none, Some("mode=0755"))?;
    mount_fs("tmpfs", "/tmp", none, Some("mode=1777"))?;
    fs::create_dir_all(SCRATCH)?;
    trees.into_iter().try_for_each(|(path, is_folder, tree)| put(path, is_folder, &tree))
}

/// What only PID 1 can mount: its own /proc, and the cgroups that it is in.
pub(super) fn after_fork(has_cgroup: bool) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_fs("proc", "/proc", flags, None)?;
    bind("/proc/sys", "/proc/sys")?;
    bind("/proc/sys/net", "/proc/sys/net")?;
    // Of the settings that are the machine's, not the namespace's, a program gets to see but not to change any.
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(None::<&str>, "/proc/sys", None::<&str>, read_only, None::<&str>)?;
    if has_cgroup {
        mount_fs("cgroup2", "/sys/fs/cgroup", flags, None)?;
    }
    Ok(())
}

/// Holds a folder, or a file, as it is now, before anything is mounted over the way to it.
fn take(folder: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(rustix::fs::CWD, folder, flags)
        .map_err(|error| io::Error::other(format!("{}: {}", folder.display(), io::Error::from(error))))
}

/// Puts a held folder, or file, back at its own path, read-only.
fn put(folder: &Path, is_folder: bool, tree: &std::os::fd::OwnedFd) -> io::Result<()> {
    if is_folder {
        fs::create_dir_all(folder)?;
    } else if !folder.exists() {
        folder.parent().map(fs::create_dir_all).transpose()?;
        fs::File::create(folder)?;
    }
    move_mount(tree, "", rustix::fs::CWD, folder, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    // In a user namespace the flags that came with the mount are locked, and must be said again.
    let locked = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, folder, None::<&str>, read_only, None::<&str>)
        .or_else(|_| mount(None::<&str>, folder, None::<&str>, read_only | locked, None::<&str>))?;
    Ok(())
}

/// In a user namespace the lower files of an overlay belong to nobody, and cannot be written.
fn is_writable_overlay_possible() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    geteuid().is_root() && map.split_whitespace().nth(2) == Some("4294967295")
}

/// As root: throwaway layers over /etc and /var.
fn overlays() -> io::Result<()> {
    for name in ["etc", "var"] {
        let (upper, work) = (format!("/tmp/{name}-upper"), format!("/tmp/{name}-work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let target = format!("/{name}");
        let options = format!("lowerdir={target},upperdir={upper},workdir={work}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        // Where the root file system is itself an overlay (a container), one more may be refused.
        if mount_fs("overlay", &target, flags, Some(&options)).is_err() {
            copy_over(&target)?;
        }
    }
    Ok(())
}

/// As an ordinary user: a copy of what can be read of /etc, and /var as a skeleton of folders.
fn copies() -> io::Result<()> {
    ["/etc", "/var"].into_iter().try_for_each(copy_over)
}

fn copy_over(target: &str) -> io::Result<()> {
    static ETC: OnceLock<Vec<Kept>> = OnceLock::new();
    let staged = format!("/tmp{target}");
    fs::create_dir(&staged)?;
    if target == "/etc" {
        // Once for each process: reading it takes tens of milliseconds.
        let kept = ETC.get_or_init(|| {
            let mut kept = Vec::new();
            keep(Path::new("/etc"), Path::new(""), &mut kept);
            kept
        });
        kept.iter().try_for_each(|entry| entry.write(Path::new(&staged)))?;
    } else {
        for folder in ["cache", "lib", "lib/misc", "local", "lock", "log", "mail", "opt", "run", "spool", "tmp"] {
            fs::create_dir_all(Path::new(&staged).join(folder))?;
        }
    }
    bind(&staged, target)
}

/// A file, folder or link of /etc.
enum Kept {
    Folder(PathBuf),
    Link(PathBuf, PathBuf),
    File(PathBuf, Vec<u8>, u32),
}

impl Kept {
    fn write(&self, into: &Path) -> io::Result<()> {
        match self {
            Self::Folder(path) => fs::create_dir_all(into.join(path)),
            Self::Link(path, to) => symlink(to, into.join(path)),
            Self::File(path, bytes, mode) => {
                fs::write(into.join(path), bytes)?;
                fs::set_permissions(into.join(path), fs::Permissions::from_mode(*mode | 0o200))
            }
        }
    }
}

/// What cannot be read is left out, as it would be for the user's own programs.
fn keep(root: &Path, below: &Path, kept: &mut Vec<Kept>) {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            kept.push(Kept::Folder(path.clone()));
            keep(root, &path, kept);
        } else if about.is_symlink() {
            kept.extend(fs::read_link(entry.path()).ok().map(|to| Kept::Link(path, to)));
        } else if about.is_file() {
            kept.extend(fs::read(entry.path()).ok().map(|bytes| Kept::File(path, bytes, about.mode() & 0o777)));
        }
    }
}

/// A /dev of its own: the devices that programs need, terminals, and shared memory.
fn devices() -> io::Result<()> {
    let dev = Path::new("/tmp/dev");
    fs::create_dir(dev)?;
    mount_fs("tmpfs", "/tmp/dev", MsFlags::MS_NOSUID, Some("mode=0755"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse"] {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        if !from.exists() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(dev))?;
        fs::File::create(&to)?;
        bind(&from, &to)?;
    }
    for (name, to) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")]
    {
        symlink(to, dev.join(name))?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(dev.join(name))?;
    }
    mount_fs(
        "devpts",
        "/tmp/dev/pts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("newinstance,ptmxmode=0666,mode=0620"),
    )?;
    mount_fs("tmpfs", "/tmp/dev/shm", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=1777"))?;
    mount(Some("/tmp/dev"), "/dev", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

fn bind(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
    Ok(mount(Some(from.as_ref()), to.as_ref(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
