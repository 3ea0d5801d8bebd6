//! What a run goes on from: a first state, or the last of its checkpoints that is whole.
//!
//! A run keeps its last two checkpoints. If the last one is damaged or missing, the one before
//! serves, and whoever watches is told: the run then takes some steps again and comes to the same
//! bits.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Observer;
use super::container::Container;
use super::folder::RunFolder;
use super::images::Images;
use super::model::{self, State};
use super::settings::caution;
use crate::config::{RunConfig, hex};
use crate::error::{Error, Result};
use crate::kernels::NUMERICS;

/// What a run goes on from.
#[derive(Debug)]
pub struct Start {
    pub(super) state: State,
    /// Steps done.
    pub(super) step: usize,
    /// Epochs done.
    pub(super) epoch: usize,
    /// SHA-256 of the file that the first weights came from, if they came from one.
    pub(super) init_sha256: Option<String>,
    /// The last checkpoint, if it is damaged and the one before it served.
    damaged: Option<PathBuf>,
}

impl Start {
    /// Steps done.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Puts a damaged checkpoint aside, so that it does not become the one before the next.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub(super) fn put_aside(&self, folder: &RunFolder) -> Result<()> {
        let Some(path) = &self.damaged else { return Ok(()) };
        fs::rename(path, folder.damaged()).map_err(|e| Error::io(path, e))
    }
}

/// Where a checkpoint remembers the contents of the file that the first weights came from.
pub(super) const INIT_KEY: &str = "init_sha256";

/// SHA-256 of the file that the first weights come from, if they come from one.
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

/// What a new run starts from; which parts of `init` were taken is noted.
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

/// What the run in `folder` goes on from, if it has a checkpoint; the images are normalised as it
/// learned them.
///
/// # Errors
/// `Io` if a checkpoint cannot be read, `Format` if all there are are damaged, or if the one that
/// is not is of other settings.
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

/// The last whole checkpoint, and the damaged one after it.
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
        // It may be whole: the system does not say.
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

/// The last checkpoint's trouble, with that of the one before.
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

/// The checkpoint at `path`, whose contents are as they were written.
fn whole(path: &Path) -> Result<Container> {
    let checkpoint = Container::read(path)?;
    // Damage to a name in the header can hide the hash and all else that is said.
    if checkpoint.meta.is_empty() {
        return Err(Error::format(path, "metadata", "a checkpoint of dimask", "none"));
    }
    Ok(checkpoint)
}
