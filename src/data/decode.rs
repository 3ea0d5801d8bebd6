//! One PNG or JPEG file to the bytes of an image, within stated limits; resizing on the way.

use super::{Loading, whole};
use crate::augment::ops::resized_crop;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// The most bytes of an encoded image: 64 MiB.
pub(super) const MOST_FILE_BYTES: u64 = 64 << 20;
/// The longest side of an image, in pixels.
const LONGEST_SIDE: u32 = 16_384;
/// The most pixels of an image: 64 Mi, 192 MiB once decoded.
const MOST_PIXELS: u64 = 64 << 20;
/// The most bytes that a decoder may take for itself.
const MOST_DECODER_BYTES: u64 = 512 << 20;

/// An image as bytes, `[H, W, C]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) bytes: Vec<u8>,
    pub(super) size: [usize; 3],
}

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

impl Loading {
    /// Whether an image of this size is taken as it is.
    pub(super) fn fits(&self, [h, w, _]: [usize; 3]) -> bool {
        self.size.is_none_or(|side| [h, w] == [side, side])
    }

    /// The image in the size that was asked for: its largest central square, resized.
    pub(super) fn fit(&self, picture: Picture) -> Picture {
        let (Some(side), [h, w, c]) = (self.size, picture.size) else { return picture };
        if self.fits(picture.size) {
            return picture;
        }
        let square = h.min(w);
        let values: Vec<f32> = picture.bytes.into_iter().map(f32::from).collect();
        let (top, left) = ((h - square) / 2, (w - square) / 2);
        let fitted = resized_crop(&values, h, w, c, top, left, square, square, side, side);
        let bytes = fitted.into_iter().map(|x| x.round() as u8).collect();
        Picture { bytes, size: [side, side, c] }
    }
}
