//! PNG and JPEG files to the bytes of images, within stated limits: a few files at a time on all
//! threads, kept in the order of names.

use super::files::LeftOut;
use super::package::Package;
use super::pixels::Picture;
use super::{Collector, Loading, whole};
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use rayon::prelude::*;
use std::io::Cursor;

/// Files in memory at a time.
const AT_A_TIME: usize = 64;
/// The most bytes of an encoded image: 64 MiB.
const MOST_FILE_BYTES: u64 = 64 << 20;
/// The longest side of an image, in pixels.
const LONGEST_SIDE: u32 = 16_384;
/// The most pixels of an image: 64 Mi, 192 MiB once decoded.
const MOST_PIXELS: u64 = 64 << 20;
/// The most bytes that a decoder may take for itself.
const MOST_DECODER_BYTES: u64 = 512 << 20;

/// Decodes a PNG or JPEG file to red, green and blue; grey ones are expanded.
///
/// The error is what was expected and what was found.
pub(super) fn decode(file: &[u8]) -> Result<Picture, [String; 2]> {
    let wrong = |found: String| ["a PNG or JPEG image".to_string(), found];
    let format = match file {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, ..] => ImageFormat::Jpeg,
        [] => return Err(wrong("an empty file".into())),
        _ => return Err(wrong("a file that begins like neither".into())),
    };
    // Decoders make up what a file lacks at its end; here such a file is damaged.
    let (name, whole) = match format {
        ImageFormat::Jpeg => ("JPEG", whole::is_whole_jpeg(file)),
        _ => ("PNG", whole::is_whole_png(file)),
    };
    if !whole {
        return Err([format!("the end of a {name} image"), "the end of the file".into()]);
    }
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| wrong(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let expected = format!("an image of at most {MOST_PIXELS} pixels");
        return Err([expected, format!("{height}x{width}")]);
    }
    let turn = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|error| wrong(error.to_string()))?;
    image.apply_orientation(turn);
    let image = image.into_rgb8();
    let size = [image.height() as usize, image.width() as usize, 3];
    Ok(Picture { bytes: image.into_raw(), size })
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
    let (mut labels, mut first) = (Vec::new(), None);
    for some in files.chunks(AT_A_TIME) {
        // The packages' cursors are nobody's but this thread's; decoding is the work.
        let read = some.iter().map(|(name, _)| package.read(name, MOST_FILE_BYTES));
        let read: Vec<Result<Vec<u8>>> = read.collect();
        let decoded: Vec<Result<Result<Picture, [String; 2]>>> = read
            .into_par_iter()
            .map(|file| file.map(|file| decode(&file).map(|picture| loading.fit(picture))))
            .collect();
        for ((name, label), picture) in some.iter().zip(decoded) {
            let wrong = |[expected, found]: [String; 2]| {
                Error::format(package.path(name), "the file", expected, found)
            };
            let of_one_size = |picture: Picture| match images.size() {
                Some(size) if size != picture.size => {
                    let [[h, w, _], [height, width, _]] = [size, picture.size];
                    let expected = format!(
                        "an image of {h}x{w} like those before it (set data.size to resize all \
                         of them)"
                    );
                    Err(wrong([expected, format!("{height}x{width}")]))
                }
                _ => Ok(picture),
            };
            match picture.and_then(|picture| picture.map_err(wrong)).and_then(of_one_size) {
                Ok(picture) => {
                    images.push(&picture.bytes, picture.size)?;
                    labels.push(*label);
                }
                Err(error) => {
                    let text = error.to_string();
                    out.leave(error, loading)?;
                    first.get_or_insert(text);
                }
            }
        }
    }
    if images.is_empty() {
        // Whoever looks for the reason finds it in the first one.
        let found = match first {
            Some(first) => format!("{} that cannot be read, the first: {first}", files.len()),
            None => "none".into(),
        };
        let expected = "at least one PNG or JPEG image";
        return Err(Error::format(package.place(), "the files", expected, found));
    }
    Ok(labels)
}
