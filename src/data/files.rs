//! Sets of one file an image: decoded a few at a time on all threads, kept in the order of names.

use super::decode::{self, MOST_FILE_BYTES, Picture};
use super::package::Package;
use super::{Bad, Collector, Loading};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// Files in memory at a time.
const AT_A_TIME: usize = 64;
/// Files that are named when some are left out; all are counted.
const NAMED: usize = 5;

/// Whether a name ends like that of an image.
pub(super) fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["png", "jpg", "jpeg"].contains(&extension.as_str()))
}

/// What was left out of the files so far.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) notes: Vec<String>,
    pub(super) unreadable: usize,
}

/// Reads the images of some files, each with its label, into `images`; returns the labels of those
/// that were read, and tells `out` of the others.
///
/// # Errors
/// `Format` for a file that is no image or of another size than the first one, `Io` for one that
/// the system refuses: the first of them, or with [`Bad::Skip`] only if no image is left.
pub(super) fn read_files(
    package: &Package,
    files: &[(String, u32)],
    loading: &Loading,
    images: &mut Collector<'_>,
    out: &mut LeftOut,
) -> Result<Vec<u32>> {
    let (mut labels, mut left_out) = (Vec::new(), Vec::new());
    for some in files.chunks(AT_A_TIME) {
        // The packages' cursors are nobody's but this thread's; decoding is the work.
        let read = some.iter().map(|(name, _)| package.read(name, MOST_FILE_BYTES));
        let read: Vec<Result<Vec<u8>>> = read.collect();
        let decoded: Vec<Result<Result<Picture, [String; 2]>>> = read
            .into_par_iter()
            .map(|file| file.map(|file| decode::decode(&file).map(|picture| loading.fit(picture))))
            .collect();
        for ((name, label), picture) in some.iter().zip(decoded) {
            let wrong = |[expected, found]: [String; 2]| {
                Error::format(package.path(name), "the file", expected, found)
            };
            let taken =
                picture.and_then(|picture| picture.map_err(wrong)).and_then(|picture| match images
                    .size()
                {
                    Some(size) if size != picture.size => {
                        let [[h, w, _], [height, width, _]] = [size, picture.size];
                        let expected = format!(
                            "an image of {h}x{w} like those before it (set data.size to resize \
                             all of them)"
                        );
                        Err(wrong([expected, format!("{height}x{width}")]))
                    }
                    _ => Ok(picture),
                });
            match taken {
                Ok(picture) => {
                    images.push(&picture.bytes, picture.size)?;
                    labels.push(*label);
                }
                Err(Error::Format { path, place, expected, found })
                    if loading.bad == Bad::Refuse =>
                {
                    let found = format!("{found} (data.skip_bad leaves such images out)");
                    return Err(Error::Format { path, place, expected, found });
                }
                Err(error) if loading.bad == Bad::Refuse => return Err(error),
                Err(error) => left_out.push(error),
            }
        }
    }
    let count = left_out.len();
    let named: Vec<String> = left_out.iter().take(NAMED).map(Error::to_string).collect();
    if images.is_empty() {
        // Whoever looks for the reason finds it in the first one.
        return Err(left_out.into_iter().next().unwrap_or_else(|| {
            Error::format(package.place(), "the files", "at least one PNG or JPEG image", "none")
        }));
    }
    out.unreadable += count;
    out.notes.extend(named.into_iter().map(|error| format!("left out: {error}")));
    if count > NAMED {
        out.notes
            .push(format!("left out: {} more unreadable images, {count} in all", count - NAMED));
    }
    Ok(labels)
}
