//! A contact sheet: images of a set, each with two views beside it, in one PNG file.

use std::path::Path;

use crate::augment::{Augment, pair};
use crate::config::Layers;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::train::images::augments;

/// Images in a row of the sheet, and rows.
const COLUMNS: usize = 5;
const ROWS: usize = 8;
/// The side of a picture on the sheet, at least about; small images are magnified whole times.
const SIDE: usize = 96;
/// Pixels between an image and its views, and between images.
const GAP: usize = 2;
const WIDE_GAP: usize = 12;
const BACKGROUND: u8 = 255;

/// The two views of an augmentation by name, for three channels, without normalisation.
pub(super) fn views(name: &str) -> Result<[Augment; 2]> {
    let mut layers = Layers::preset("official")?;
    layers.augment(name)?;
    Ok(augments(&layers.finish()?.augment, &[0.0; 3], &[1.0; 3]))
}

/// Draws images of all classes into the file.
pub(super) fn draw(set: &Dataset, views: &[Augment; 2], file: &Path) -> Result<()> {
    let chosen = choose(set);
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
    let mut sheet = vec![BACKGROUND; sheet_height * sheet_width * 3];
    let len = height * width * channels;
    for i in 0..chosen.len() {
        let (top, left) = (WIDE_GAP + i / COLUMNS * row, WIDE_GAP + i % COLUMNS * column);
        let pictures =
            [&originals[i * len..], &views[i * len..], &views[(chosen.len() + i) * len..]];
        for (place, picture) in pictures.into_iter().enumerate() {
            let left = left + place * (cell_width + GAP);
            for at in 0..cell_height * cell_width {
                let (y, x) = (at / cell_width, at % cell_width);
                let pixel = &picture[(y / scale * width + x / scale) * channels..][..channels];
                let out = &mut sheet[((top + y) * sheet_width + left + x) * 3..][..3];
                // One channel is grey: all three alike.
                (0..3).for_each(|channel| out[channel] = pixel[channel.min(channels - 1)]);
            }
        }
    }
    write_atomically(file, &png(&sheet, [sheet_height, sheet_width])?)
}

fn png(sheet: &[u8], [height, width]: [usize; 2]) -> Result<Vec<u8>> {
    use image::ImageEncoder;
    let mut file = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    let colour = image::ExtendedColorType::Rgb8;
    let written = encoder.write_image(sheet, width as u32, height as u32, colour);
    written
        .map_err(|error| Error::Wrong { what: format!("the sheet cannot be drawn: {error}") })?;
    Ok(file)
}

/// Images of the sheet: one of each class in turn, or evenly apart where there are no labels.
fn choose(set: &Dataset) -> Vec<usize> {
    let most = (COLUMNS * ROWS).min(set.len());
    let Some(labels) = &set.labels else {
        return (0..most).map(|i| i * set.len() / most).collect();
    };
    let mut seen = vec![0; set.classes];
    let with_turn = |(index, &label): (usize, &u32)| {
        let turn = &mut seen[label as usize];
        *turn += 1;
        (*turn, label, index)
    };
    let mut order: Vec<(usize, u32, usize)> =
        labels.iter().enumerate().map(with_turn).filter(|(turn, ..)| *turn <= most).collect();
    order.sort_unstable();
    order.into_iter().take(most).map(|(.., index)| index).collect()
}
