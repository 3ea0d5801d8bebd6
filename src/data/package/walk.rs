//! The files below a folder, those behind links too.

use super::names::{is_hidden, is_leftover, shown};
use super::{DEEPEST, Entry, Fault, Listing};
use crate::error::{Error, Result};
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Lists what is below `folder`.
///
/// What cannot be read there is listed as such; an image may be behind it.
///
/// # Errors
/// `Io` if the system refuses the folder itself.
pub(super) fn walk(folder: &Path) -> Result<Listing> {
    let refused = |error| Error::io(folder, error);
    let own = folder.canonicalize().map_err(refused)?;
    let mut listing = Listing::default();
    let inside = fs::read_dir(folder).map_err(refused)?;
    entries(inside, "", &mut vec![own], &mut listing).map_err(refused)?;
    Ok(listing)
}

/// Adds what is in a folder under names that begin with `prefix`; `above` are the folders on the
/// way here and this one, without links.
fn entries(
    inside: fs::ReadDir,
    prefix: &str,
    above: &mut Vec<PathBuf>,
    listing: &mut Listing,
) -> io::Result<()> {
    for entry in inside {
        let entry = entry?;
        let own = entry.file_name();
        let own = own.as_encoded_bytes();
        if is_hidden(own) {
            if !is_leftover(own) {
                listing.hidden.push(format!("{prefix}{}", shown(own)));
            }
            continue;
        }
        let name = format!("{prefix}{}", shown(own));
        // Of what a link leads to.
        match fs::metadata(entry.path()) {
            Ok(kind) if kind.is_dir() => below(&entry, name, above, listing),
            Ok(kind) if kind.is_file() => {
                listing.entries.insert(name, Entry::File(entry.path()));
            }
            Ok(_) => listing.lost(name, "a file", "a device, a pipe or a socket"),
            Err(error) => {
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                let fault = Fault::new("a file", lost(&entry, is_link, &error));
                // A link that leads nowhere may have led to anything; what exists and is closed
                // may be a folder of images.
                let nowhere =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                        || error.raw_os_error() == Some(LOOP);
                let entry =
                    if is_link && nowhere { Entry::Lost(fault) } else { Entry::Closed(fault) };
                listing.entries.insert(name, entry);
            }
        }
    }
    Ok(())
}

/// `ELOOP`, for which the standard library has no stable name.
const LOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// What there is instead of a file.
fn lost(entry: &DirEntry, is_link: bool, error: &io::Error) -> String {
    match fs::read_link(entry.path()) {
        Ok(target) if is_link => {
            let target = shown(target.as_os_str().as_encoded_bytes());
            format!("a link to {target} ({error})")
        }
        _ => error.to_string(),
    }
}

/// Adds a folder and what is below it, or why it cannot be looked into.
fn below(entry: &DirEntry, name: String, above: &mut Vec<PathBuf>, listing: &mut Listing) {
    let path = entry.path();
    let opened = path.canonicalize().and_then(|own| Ok((own, fs::read_dir(&path)?)));
    let closed = match opened {
        Ok((own, _)) if above.contains(&own) => {
            let own = shown(own.as_os_str().as_encoded_bytes());
            Fault::new("no folder that holds itself", format!("a link to {own}"))
        }
        Ok(_) if above.len() > DEEPEST => Fault::too_deep(),
        Ok((own, inside)) => {
            listing.folders.insert(name.clone());
            above.push(own);
            let read = entries(inside, &format!("{name}/"), above, listing);
            above.pop();
            match read {
                Ok(()) => return,
                Err(error) => Fault::new("a folder that can be read", error.to_string()),
            }
        }
        Err(error) => Fault::new("a folder that can be read", error.to_string()),
    };
    listing.entries.insert(name, Entry::Closed(closed));
}
