//! Files that are replaced, never overwritten: a reader, or a crash, finds the old or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Checks that [`write_atomically`] can write the file, before the work for its contents.
///
/// # Errors
/// `Io` if the file cannot be written.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let (_, temporary) = beside(path);
    let write = || {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        fresh(&temporary)?;
        fs::remove_file(&temporary)
    };
    write().map_err(|e| Error::io(path, e))
}

/// The file's folder, and the temporary file in it.
fn beside(path: &Path) -> (&Path, PathBuf) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (folder, folder.join(format!(".{name}.tmp")))
}

/// Creates a file at `path`, in the place of one that a killed process left half written.
///
/// The old file is removed, not truncated: a read-only folder then refuses, even where the
/// permissions of the file itself would allow the write.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => File::create_new(path),
    }
}

/// Replaces the file at `path` by `bytes` so that a crash leaves the old or the new one.
///
/// # Errors
/// `Io` if the system refuses.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, || Ok(())).map_err(|e| Error::io(path, e))
}

/// Replaces the file at `path` as [`write_atomically`] does; the old one is at `kept` afterwards.
///
/// At every moment a whole file is at `path` or, on file systems without hard links, at `kept`.
///
/// # Errors
/// `Io` if the system refuses.
pub(crate) fn write_keeping(path: &Path, kept: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, || keep(path, kept)).map_err(|e| Error::io(path, e))
}

/// Replaces the file; calls `before` when the new file is whole and not yet in its place.
fn replace(path: &Path, bytes: &[u8], before: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (folder, temporary) = beside(path);
    let write = || {
        let mut file = fresh(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    // On a full disk, half a file would only take space.
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    before()?;
    fs::rename(&temporary, path)?;
    // The new name survives a crash once its folder is synced; not every system opens folders.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Gives the file at `path`, if there is one, the second name `kept`, which replaces an older file.
fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    let (_, link) = beside(kept);
    if !path.exists() {
        return Ok(());
    }
    if link.exists() {
        fs::remove_file(&link)?;
    }
    match fs::hard_link(path, &link) {
        Ok(()) => fs::rename(link, kept),
        Err(_) => fs::rename(path, kept),
    }
}
