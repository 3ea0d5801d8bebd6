//! The folder of a run: its files, and the lock of the process that writes them.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | every setting |
//! | `metrics.jsonl` | one line per step, some with the mask, and one per epoch |
//! | `checkpoint.safetensors` | the last state |
//! | `previous.safetensors` | the state before that, in case the last one is damaged |
//! | `damaged.safetensors` | a last state that was found damaged when the run resumed |
//! | `diverged.safetensors` | a step with numbers that are not finite, for `dimask replay` |
//! | `best.safetensors` | the state after the best epoch, if images are held out for that choice |
//! | `summary.json` | the final figures; written when the run is finished |
//! | `profile.json` | where the time went, if the run was profiled |
//! | `report.html`, `report-figures`, `mask-figures` | drawings of `dimask report` and `mask` |
//! | `.lock` | held by the training process; the system releases it when the process ends |

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs2::FileExt;

use crate::config::RunConfig;
use crate::error::{Error, Result, tilde};
use crate::files::write_atomically;

/// Quotes a path for a POSIX shell, as [`shell_word`] does; a path that begins with `-` gets a `./`
/// before it.
pub fn shell_path(path: &Path) -> String {
    match path.as_os_str().as_encoded_bytes().first() {
        Some(b'-') => shell_word(Path::new(".").join(path).as_os_str()),
        _ => shell_word(path.as_os_str()),
    }
}

/// Quotes a word for a POSIX shell, where the shell would not take it literally.
///
/// ```
/// # use dimask::run::folder::shell_word;
/// assert_eq!(shell_word("runs/a $b".as_ref()), "'runs/a $b'");
/// ```
pub fn shell_word(word: &OsStr) -> String {
    let Some(text) = word.to_str() else {
        let mut quoted = String::from("$'");
        for byte in word.as_encoded_bytes() {
            match byte {
                b' '..=b'~' if !b"\\'".contains(byte) => quoted.push(char::from(*byte)),
                byte => quoted.push_str(&format!("\\{byte:03o}")),
            }
        }
        return quoted + "'";
    };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:=@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// The paths in a run's folder; reading needs no lock.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The run folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> RunFolder {
        RunFolder { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the settings are.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Where the records of steps and epochs are.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// Where the last state is.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint.safetensors")
    }

    /// Where the state before the last one is.
    pub fn previous(&self) -> PathBuf {
        self.root.join("previous.safetensors")
    }

    /// Where a damaged state is kept.
    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged.safetensors")
    }

    /// Where a step is kept whose numbers are not finite.
    pub fn diverged(&self) -> PathBuf {
        self.root.join("diverged.safetensors")
    }

    /// Where the state after the best epoch is.
    pub fn best(&self) -> PathBuf {
        self.root.join("best.safetensors")
    }

    /// Where the final figures are.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// Where the profile of a profiled run is.
    pub fn profile(&self) -> PathBuf {
        self.root.join("profile.json")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// Whether the run is finished.
    pub fn is_finished(&self) -> bool {
        self.summary().exists()
    }

    /// The settings of the run in this folder.
    ///
    /// # Errors
    /// `Usage` if the folder has no run, `Io` or `Format` if its `config.toml` cannot be read.
    pub fn read_config(&self) -> Result<RunConfig> {
        let path = self.config();
        if !path.exists() {
            let tilde = tilde(&self.root);
            let reason = format!("is not the folder of a run: it has no config.toml{tilde}");
            return Err(Error::usage(self.root.display().to_string(), reason));
        }
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        RunConfig::from_toml(&text, &path)
    }

    /// Creates the folder of a new run, takes its lock and writes `config.toml`.
    ///
    /// # Errors
    /// `Usage` if the folder has a run, or if another process holds its lock; `Io` if the
    /// system refuses.
    pub fn create(&self, config: &RunConfig) -> Result<Lock> {
        fs::create_dir_all(&self.root).map_err(|e| Error::io(&self.root, e))?;
        // The lock comes first: of two processes that start here at once, one gets it.
        let lock = self.lock()?;
        let files = [self.config(), self.metrics(), self.checkpoint(), self.summary()];
        if let Some(used) = files.iter().find(|path| path.exists()) {
            return Err(Error::usage(
                "--out",
                format!(
                    "{} already has a run ({} exists); continue it with --resume {}, or choose \
                     another folder",
                    self.root.display(),
                    used.file_name().unwrap_or_default().to_string_lossy(),
                    shell_path(&self.root)
                ),
            ));
        }
        write_atomically(&self.config(), config.to_toml().as_bytes())?;
        Ok(lock)
    }

    /// Takes the lock of a folder that exists.
    ///
    /// It is the operating system's lock on the open file: it ends with the process, even a killed
    /// one, whatever the file says.
    ///
    /// # Errors
    /// `Usage` if a living process holds it, `Io` if the system refuses.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.lock_file();
        let refused = |e| Error::io(&path, e);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refused)?;
        // The standard library has locks since Rust 1.89.
        let held = fs2::lock_contended_error().raw_os_error();
        match file.try_lock_exclusive() {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == held => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder); // Only for the message.
                let holder = holder.trim();
                let reason = format!(
                    "is in use by process {holder}, which is still running; wait for its end or \
                     stop it, or choose another folder"
                );
                return Err(Error::usage(self.root.display().to_string(), reason));
            }
            // A file system without locks: run without one.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(e) => return Err(refused(e)),
        }
        file.set_len(0).map_err(refused)?;
        write!(file, "{}", std::process::id()).map_err(refused)?;
        Ok(Lock { _file: file })
    }
}

/// The right to write to a run folder, until dropped.
///
/// The file stays: another process may have just opened it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The first folder `runs/NAME-1`, `runs/NAME-2`, ... that does not exist.
pub fn free_folder(name: &str) -> PathBuf {
    let numbered = |number: usize| Path::new("runs").join(format!("{name}-{number}"));
    (1..).map(numbered).find(|path| !path.exists()).expect("there is always a greater number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::TempDir;

    #[test]
    fn a_used_folder_is_refused_and_a_dead_lock_is_not() {
        let dir = TempDir::new("folder");
        let folder = RunFolder::new(dir.path().join("deep/run"));
        let config = RunConfig::preset("demo").unwrap();
        let lock = folder.create(&config).unwrap();
        assert_eq!(folder.read_config().unwrap(), config);

        let error = folder.lock().unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
        assert_eq!(error.exit_code(), 2);
        drop(lock);
        fs::write(folder.lock_file(), "999999999").unwrap();
        drop(folder.lock().unwrap());

        let error = folder.create(&config).unwrap_err();
        assert!(error.to_string().contains("config.toml exists"), "{error}");
        let nothing = RunFolder::new(dir.path()).read_config().unwrap_err();
        assert!(nothing.to_string().contains("not the folder of a run"), "{nothing}");
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        let words = [
            "runs/demo-1",
            "a b",
            "it's",
            "''",
            "$HOME",
            "`x`",
            "a\"b",
            "a\\b",
            "a\nb",
            "*",
            "?",
            "[a]",
            "~",
            "~/x",
            "a;b",
            "a&b",
            "a|b",
            "<a>",
            "(a)",
            "{a,b}",
            "!x",
            "#x",
            "-x",
            "--",
            "a=b",
            "",
            "\u{732b} \u{e9}",
            "%s",
            "\\",
            "'",
        ];
        for word in words {
            let quoted = shell_word(word.as_ref());
            let line = format!("printf %s {quoted}");
            let said = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), word, "{quoted}");
        }
        assert_eq!(shell_word("runs/demo-1".as_ref()), "runs/demo-1");
        // A program would take a leading `-` for a flag.
        assert_eq!(shell_path(Path::new("-x y")), "'./-x y'");
        assert_eq!(shell_path(Path::new("--resume")), "./--resume");
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shell_word(OsStr::from_bytes(b"p\xe9che's")), "$'p\\351che\\047s'");
    }
}
