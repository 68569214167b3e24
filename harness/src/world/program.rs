//! Programs that a test writes and runs.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::sched::{CloneFlags, unshare};

use crate::namespace::on_a_thread;

/// Writes an executable file.
///
/// It is open for writing in a descriptor table that nothing else shares: a file that is, in a process that another
/// thread forked meanwhile, still open for writing cannot be executed (`ETXTBSY`).
pub fn write_program(path: impl AsRef<Path>, text: &str) -> io::Result<()> {
    let path = path.as_ref();
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_FILES)?;
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(path)?;
        file.write_all(text.as_bytes())
    })
}
