//! A temporary file: bytes that need not stay in memory.
//!
//! It lies in the system's folder for temporary files (`TMPDIR`), has no name while it is in use
//! where the system allows that, and is gone with the process however that ends.

use crate::error::{Error, Result};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A temporary file that is appended to and then read by position, from any thread.
#[derive(Debug)]
pub(super) struct Spool {
    /// One cursor for everybody: who reads, moves it first.
    file: Mutex<File>,
    path: PathBuf,
    len: u64,
}

impl Spool {
    /// An empty file.
    pub(super) fn create() -> Result<Spool> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("dimask-{}-{number}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        // A name that somebody else has made, a link for example, is refused and not followed.
        let file = options.read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| Error::io(&path, error))?;
        if cfg!(unix) {
            // Without a name it cannot be left behind.
            fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
        }
        Ok(Spool { file: Mutex::new(file), path, len: 0 })
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Puts bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(SeekFrom::Start(self.len)).and_then(|_| file.write_all(bytes));
        written.map_err(|error| Error::io(&self.path, error))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(super) fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }

    /// The file's former or present name, for errors.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
