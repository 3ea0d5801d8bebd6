//! The state that a run starts or resumes from: a fresh one, or the last undamaged checkpoint.
//!
//! A run keeps its last two checkpoints. If the last one is damaged or missing, the run resumes
//! from the previous one and notes it: it repeats some steps and ends with the same bits.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Observer;
use super::images::Images;
use crate::config::{RunConfig, hex};
use crate::error::{Error, Result};
use crate::kernels::NUMERICS;
use crate::run::container::Container;
use crate::run::folder::RunFolder;
use crate::run::model::{self, State};
use crate::run::settings::caution;

/// The state that a run starts or resumes from.
#[derive(Debug)]
pub struct Start {
    pub(super) state: State,
    /// Steps done.
    pub(super) step: usize,
    /// Epochs done.
    pub(super) epoch: usize,
    /// SHA-256 of the file that the first weights came from, if they came from one.
    pub(super) init_sha256: Option<String>,
    /// The last checkpoint, if it is damaged and the previous one was used.
    damaged: Option<PathBuf>,
}

impl Start {
    /// Steps done.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Moves a damaged checkpoint aside, so that it does not become the previous one.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub(super) fn put_aside(&self, folder: &RunFolder) -> Result<()> {
        let Some(path) = &self.damaged else { return Ok(()) };
        fs::rename(path, folder.damaged()).map_err(|e| Error::io(path, e))
    }
}

/// The metadata key with the SHA-256 of the file that the first weights came from.
pub(super) const INIT_KEY: &str = "init_sha256";

/// SHA-256 of the file that `init` names, if it names one.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn init_sha256(config: &RunConfig) -> Result<Option<String>> {
    if config.init.is_empty() {
        return Ok(None);
    }
    let path = Path::new(&config.init);
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    Ok(Some(hex(&Sha256::digest(bytes))))
}

/// The first state of a new run; notes which parts of the file `init` were taken.
///
/// # Errors
/// `Io` or `Format` if the file with the first weights cannot be read or does not fit.
pub fn first_state(
    config: &RunConfig,
    images: &Images,
    observer: &mut dyn Observer,
) -> Result<Start> {
    let mut state = model::first_state(config, images.train.channels);
    if !config.init.is_empty() {
        let taken = model::read_first_weights(config, &mut state, Path::new(&config.init))?;
        observer.note(&format!("from {}: {taken}", config.init));
    }
    let init_sha256 = init_sha256(config)?;
    Ok(Start { state, step: 0, epoch: 0, init_sha256, damaged: None })
}

/// The state of the run in `folder`, if it has a checkpoint; sets the normalisation of `images` to
/// the one that the run learned with.
///
/// # Errors
/// `Io` if a checkpoint cannot be read; `Format` if each one is damaged, or if the good one belongs
/// to other settings.
pub fn last_state(
    config: &RunConfig,
    images: &mut Images,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Option<Start>> {
    let Some(Last { checkpoint, path, damaged }) = last(folder, observer)? else {
        return Ok(None);
    };
    if let Some(caution) = caution(config) {
        observer.note(caution);
    }
    let written = model::numerics(&checkpoint);
    if written != NUMERICS {
        observer.note(&format!(
            "note: {} was written with numerics version {written}, this program has {NUMERICS}: \
             the run resumes, but not to the bits of an uninterrupted one",
            path.display()
        ));
    }
    let channels = images.train.channels;
    let (state, step) = model::restore(config, channels, &checkpoint, &path)?;
    let normalization = model::stored_normalization(&checkpoint, &path)?;
    if normalization.iter().any(|values| values.len() != channels) {
        let expected = format!("a value for each of {channels} channels");
        return Err(Error::format(path, "metadata: mean, std", expected, "others"));
    }
    images.set_normalization(normalization);
    let meta = &checkpoint.meta;
    let epoch = meta.get("epoch").and_then(|epoch| epoch.as_u64()).unwrap_or(0) as usize;
    let init_sha256 = meta.get(INIT_KEY).and_then(|text| text.as_str()).map(String::from);
    Ok(Some(Start { state, step, epoch, init_sha256, damaged }))
}

/// The last undamaged checkpoint, and the damaged one after it.
struct Last {
    checkpoint: Container,
    path: PathBuf,
    damaged: Option<PathBuf>,
}

fn last(folder: &RunFolder, observer: &mut dyn Observer) -> Result<Option<Last>> {
    let (path, before) = (folder.checkpoint(), folder.previous());
    let trouble = match whole(&path) {
        Ok(checkpoint) => return Ok(Some(Last { checkpoint, path, damaged: None })),
        Err(error) => error,
    };
    let missing =
        |e: &Error| matches!(e, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound);
    let damaged = match &trouble {
        Error::Format { .. } => Some(path),
        error if missing(error) => None,
        // The file may be fine: the system refused to read it.
        _ => return Err(trouble),
    };
    match whole(&before) {
        Ok(checkpoint) => {
            observer
                .note(&format!("warning: {trouble}; the one before serves, {}", before.display()));
            Ok(Some(Last { checkpoint, path: before, damaged }))
        }
        Err(error) if missing(&error) && missing(&trouble) => Ok(None),
        Err(error) if missing(&error) => Err(trouble),
        Err(error) => Err(neither(trouble, &error)),
    }
}

/// The error of the last checkpoint, extended by that of the previous one.
fn neither(trouble: Error, before: &Error) -> Error {
    let more = format!(
        "; the checkpoint before it does not serve either ({before}): put back a copy of one, or \
         train in another folder"
    );
    match trouble {
        Error::Format { path, place, expected, found } => {
            Error::Format { path, place, expected, found: found + &more }
        }
        error => error,
    }
}

/// Reads the checkpoint at `path` and checks that its contents are intact.
fn whole(path: &Path) -> Result<Container> {
    let checkpoint = Container::read(path)?;
    // Damage to a name in the header can hide the hash and the other metadata.
    if checkpoint.meta.is_empty() {
        return Err(Error::format(path, "metadata", "a checkpoint of dimask", "none"));
    }
    Ok(checkpoint)
}
