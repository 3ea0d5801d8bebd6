//! A contact sheet: images of a set, each with two views beside it, in one PNG file.

use std::path::Path;

use crate::augment::{Augment, pair};
use crate::config::Layers;
use crate::data::{Dataset, class_by_class};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::report::picture::Picture;
use crate::train::images::augments;

/// Images in a row of the sheet, and rows.
const COLUMNS: usize = 5;
const ROWS: usize = 8;
/// The approximate side of a picture on the sheet; small images are magnified by whole factors.
const SIDE: usize = 96;
/// Pixels between an image and its views, and between images.
const GAP: usize = 2;
const WIDE_GAP: usize = 12;
const BACKGROUND: [u8; 3] = [255; 3];

/// The two views of an augmentation by name, for three channels, without normalisation.
pub(super) fn views(name: &str) -> Result<[Augment; 2]> {
    let mut layers = Layers::preset("official")?;
    layers.augment(name)?;
    Ok(augments(&layers.finish()?.augment, &[0.0; 3], &[1.0; 3]))
}

/// Draws images of all classes into the file.
pub(super) fn draw(set: &Dataset, views: &[Augment; 2], file: &Path) -> Result<()> {
    let chosen = class_by_class(set, COLUMNS * ROWS);
    let size @ [height, width, channels] = set.size();
    let views = views.clone().map(|mut view| {
        view.mean.truncate(channels);
        view.std.truncate(channels);
        view
    });
    let [first, second] = &views;
    first.check(size).map_err(|reason| Error::usage("--augment", reason))?;
    let originals = set.read(&chosen)?;
    let pairs = pair([first, second], &originals, size, &chosen, 0, 0);
    let byte = |&x: &f32| (x * 255.0).round().clamp(0.0, 255.0) as u8;
    let views: Vec<u8> = pairs.as_slice().iter().map(byte).collect();

    let scale = (SIDE / height.max(width)).max(1);
    let (cell_height, cell_width) = (height * scale, width * scale);
    let [row, column] = [cell_height + WIDE_GAP, 3 * cell_width + 2 * GAP + WIDE_GAP];
    let sheet_height = WIDE_GAP + row * chosen.len().div_ceil(COLUMNS);
    let sheet_width = WIDE_GAP + column * chosen.len().min(COLUMNS);
    let mut sheet = Picture::new(sheet_height, sheet_width, BACKGROUND);
    let len = height * width * channels;
    for i in 0..chosen.len() {
        let (top, left) = (WIDE_GAP + i / COLUMNS * row, WIDE_GAP + i % COLUMNS * column);
        let images = [&originals[i * len..], &views[i * len..], &views[(chosen.len() + i) * len..]];
        for (place, image) in images.into_iter().enumerate() {
            let picture = Picture::of(&image[..len], size).magnified(scale);
            sheet.lay(top, left + place * (cell_width + GAP), &picture);
        }
    }
    write_atomically(file, &sheet.png())
}
