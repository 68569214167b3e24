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
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::{SCRATCH, init::mount_fs};

/// What becomes of everything that is no device and no program.
const NO_PROGRAMS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Where programs find their cgroups.
const CGROUP: &str = "/sys/fs/cgroup";

/// Files and folders of /proc that are the machine's and that its root may write in any namespace. The last are network
/// settings that older kernels (before 5.13), and `nf_hooks_lwtunnel` this day's, do not tell apart by namespace.
const MACHINES: [&str; 10] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sysrq-trigger",
    "/proc/sys/net/ipv4/tcp_allowed_congestion_control",
    "/proc/sys/net/netfilter/nf_conntrack_buckets",
    "/proc/sys/net/netfilter/nf_conntrack_expect_max",
    "/proc/sys/net/netfilter/nf_conntrack_max",
    "/proc/sys/net/netfilter/nf_hooks_lwtunnel",
    "/proc/sys/net/nf_conntrack_max",
];

/// Everything that can be mounted before there is a PID 1; the calling thread is in the new mount namespace.
pub(super) fn before_fork(folders: &[PathBuf]) -> io::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let taken = folders.iter().map(|path| Ok((path, path.is_dir(), take(path)?)));
    let trees = taken.collect::<io::Result<Vec<_>>>()?;
    // The old /tmp is out of sight from here on; what follows is built in the new one, then that is covered in its turn.
    mount_fs("tmpfs", "/tmp", MsFlags::empty(), Some("mode=0755,size=1g"))?;
    if is_writable_overlay_possible() {
        overlays()?
    } else {
        copies()?
    }
    devices()?;
    settings()?;
    mount_fs("tmpfs", "/run", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755,size=1g"))?;
    // As `ip netns` leaves it: whoever finds it otherwise mounts it once more, over the namespaces that are bound there.
    fs::create_dir("/run/netns")?;
    bind("/run/netns", "/run/netns")?;
    mount(None::<&str>, "/run/netns", None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
    mount_fs("tmpfs", "/tmp", MsFlags::empty(), Some("mode=1777,size=1g"))?;
    fs::create_dir_all(SCRATCH)?;
    trees.into_iter().try_for_each(|(path, is_folder, tree)| put(path, is_folder, &tree))
}

/// /sys: to be written only where the namespace's devices are. The rest of it is the machine's.
fn settings() -> io::Result<()> {
    mount_fs("sysfs", "/sys", NO_PROGRAMS, None)?;
    let devices = "/sys/devices/virtual/net";
    if Path::new(devices).exists() {
        bind(devices, devices)?;
    }
    read_only("/sys")
}

/// /sys as the calling thread's network namespace has it, in a mount namespace of the thread's own; and what is the machine's
/// of /proc/sys/net, which has files of its own for each namespace.
pub(super) fn settings_anew(has_cgroup: bool) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // A program of the lab's may have made these mounts shared: what follows would be mounted over the lab's own.
    for path in ["/sys", "/proc"] {
        mount(None::<&str>, path, None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    }
    let cgroup = has_cgroup.then(|| take(Path::new(CGROUP))).transpose()?;
    settings()?;
    if let Some(tree) = cgroup {
        move_mount(&tree, "", rustix::fs::CWD, CGROUP, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    keep_from_writing(MACHINES.into_iter().filter(|path| path.starts_with("/proc/sys/net/")))
}

/// What only PID 1 can mount: its own /proc, and the cgroups that it is in. It has forked, so nothing here allocates.
pub(super) fn after_fork(has_cgroup: bool) -> io::Result<()> {
    mount_fs("proc", "/proc", NO_PROGRAMS, None)?;
    // Of the settings that are the machine's, not the namespace's, a program gets to see but not to change any.
    bind("/proc/sys", "/proc/sys")?;
    bind("/proc/sys/net", "/proc/sys/net")?;
    read_only("/proc/sys")?;
    keep_from_writing(MACHINES)?;
    if has_cgroup {
        mount_fs("cgroup2", CGROUP, NO_PROGRAMS, None)?;
    }
    Ok(())
}

fn keep_from_writing<'a>(paths: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    for path in paths {
        // What this kernel has not cannot be bound.
        if bind(path, path).is_ok() {
            read_only(path)?;
        }
    }
    Ok(())
}

/// Holds a folder, or a file, as it is now, before anything is mounted over the way to it.
fn take(folder: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // In a user namespace what is mounted below is locked to it, and cannot be left out.
    open_tree(rustix::fs::CWD, folder, flags)
        .or_else(|_| open_tree(rustix::fs::CWD, folder, flags | OpenTreeFlags::AT_RECURSIVE))
        .map_err(|error| io::Error::other(format!("showing {}: {}", folder.display(), io::Error::from(error))))
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
    super::sys::set_read_only(folder).or_else(|_| {
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        // In a user namespace the flags that came with the mount are locked, and must be said again.
        let locked = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(None::<&str>, folder, None::<&str>, read_only, None::<&str>)
            .or_else(|_| mount(None::<&str>, folder, None::<&str>, read_only | locked, None::<&str>))?;
        Ok(())
    })
}

/// In a user namespace the lower files of an overlay belong to nobody, and cannot be written.
fn is_writable_overlay_possible() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    geteuid().is_root() && map.split_whitespace().nth(2) == Some("4294967295")
}

/// As root: throwaway layers over /etc and /var, with device files and setuid programs as on a machine: what container
/// engines keep in /var has both.
fn overlays() -> io::Result<()> {
    for name in ["etc", "var"] {
        let (upper, work) = (format!("/tmp/{name}-upper"), format!("/tmp/{name}-work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let target = format!("/{name}");
        let options = format!("lowerdir={target},upperdir={upper},workdir={work}");
        // Where the root file system is itself an overlay (a container), one more may be refused.
        if mount_fs("overlay", &target, MsFlags::empty(), Some(&options)).is_err() {
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
    mount_fs("tmpfs", "/tmp/dev", MsFlags::MS_NOSUID, Some("mode=0755,size=64m"))?;
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
    mount_fs("tmpfs", "/tmp/dev/shm", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=1777,size=1g"))?;
    mount(Some("/tmp/dev"), "/dev", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

/// Makes a mount read-only, of those that have `NO_PROGRAMS`: in a user namespace these flags must be said again.
fn read_only(path: &str) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | NO_PROGRAMS;
    Ok(mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?)
}

fn bind(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
    Ok(mount(Some(from.as_ref()), to.as_ref(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
