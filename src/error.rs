//! What can go wrong outside the maths: files, formats, settings, divergence.
//!
//! The numeric core panics on misuse and does no input or output; everything here is an event of
//! the world that a caller can meet with a correct program.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An event of the world, sorted by what the reader should do about it.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// The system refused to read or write: look at the path, its permissions, the disk.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be: get a good copy, or another file.
    Format {
        /// The file.
        path: PathBuf,
        /// Where in the file: a byte offset, a line, a key.
        place: String,
        /// What was expected there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A setting makes no sense: change it.
    Usage {
        /// The flag or configuration key.
        flag: String,
        /// What is wrong with its value, and what would be right.
        reason: String,
    },
    /// The run left the finite numbers: lower the learning rate, look at the named part.
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// Which part of the loss, and the first layer that is not finite.
        part: String,
    },
    /// A check that was asked for found something wrong: what was checked is not to be trusted.
    Wrong {
        /// What was found.
        what: String,
    },
    /// The user asked for a stop; a run has saved what it had done.
    Interrupted {
        /// The signal's number: 2 for Ctrl-C, 15 for a termination request.
        signal: i32,
    },
}

impl Error {
    /// Wraps an `io::Error` with the path it happened at.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Error {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A file that is not what it should be.
    pub fn format(
        path: impl AsRef<Path>,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Format {
            path: path.as_ref().to_path_buf(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// A setting that makes no sense.
    pub fn usage(flag: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Usage { flag: flag.into(), reason: reason.into() }
    }

    /// The process exit code that belongs to this error.
    ///
    /// 2 for usage, 128 plus the signal for an interrupted run, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } => 2,
            Error::Interrupted { signal } => 128 + *signal as u8,
            _ => 1,
        }
    }
}

/// What to do where the system refuses; empty where its own words say so.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; make room, or choose another place"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; look at its permissions, or choose another place"
        }
        _ => "",
    }
}

/// What to do about a path with a `~` that a shell would have replaced, where nothing is; empty for
/// other paths.
pub(crate) fn tilde(path: &Path) -> &'static str {
    // Further on in a path that has been made absolute.
    let is_home = |part: std::path::Component| part.as_os_str() == "~";
    let starts = path.as_os_str().as_encoded_bytes().first() == Some(&b'~');
    match starts || path.components().any(is_home) {
        true => {
            "; the shell replaces `~` only at the start of a word: write $HOME instead, or the \
             whole path"
        }
        false => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, source } => {
                let kind = source.kind();
                let tilde = if kind == ErrorKind::NotFound { tilde(path) } else { "" };
                write!(f, "{}: {source}{}{tilde}", path.display(), advice(kind))
            }
            Error::Format { path, place, expected, found } => {
                write!(f, "{}: {place}: expected {expected}, found {found}", path.display())
            }
            Error::Usage { flag, reason } => write!(f, "{flag}: {reason}"),
            Error::Diverged { step, part } => {
                write!(f, "the run diverged at step {step}: {part} is not finite")
            }
            Error::Wrong { what } => f.write_str(what),
            Error::Interrupted { signal } => write!(f, "stopped by signal {signal}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
