//! A planted nuisance: a texture that has nothing to do with an image's class.
//!
//! It lies in the image itself, so the two views of an image share it, as they share its object: a
//! loss that only asks views to agree cannot tell one from the other. What a method makes of it can
//! be measured, because the kind of every image's texture is known.

use std::f64::consts::TAU;

use rand::Rng;

use super::{Dataset, Pixels};
use crate::error::Result;
use crate::rng::Stream;

/// How many kinds of texture there are: gratings in two directions and four widths.
pub const KINDS: usize = 8;
/// How often a grating's period fits into the image's side.
const PERIODS: [f64; 4] = [2.5, 4.0, 6.5, 10.5];

/// The kind of texture of each of `len` images of the part `part` (`train`, `test`), each below
/// [`KINDS`]: drawn uniformly, whatever the images show.
pub fn kinds(len: usize, part: &str) -> Vec<u32> {
    let stream = Stream::new(0, &format!("confounder {part}"));
    (0..len as u64).map(|image| stream.at(&[image]).random_range(0..KINDS as u32)).collect()
}

/// The images with its texture blended into each: `(1 - strength) · pixel + strength · texture`.
///
/// A texture is a grating `255 (1 + sin(2π p u + φ)) / 2` along one axis, `u` in 0 to 1, with the
/// number of periods `p` and the axis of its kind and a phase `φ` drawn for the image. A flip keeps
/// the kind, and so does a crop that is not small.
///
/// They are in memory, wherever `images` are.
///
/// # Errors
/// `Io` if images cannot be read.
///
/// # Panics
/// If `strength` is not within [0, 1].
#[track_caller]
pub fn plant(images: &Dataset, strength: f64, part: &str) -> Result<Dataset> {
    assert!((0.0..=1.0).contains(&strength), "plant: a strength of {strength}");
    let [height, width, channels] = images.size();
    let phases = Stream::new(0, &format!("confounder phase {part}"));
    let len = height * width * channels;
    let kinds = kinds(images.len(), part);
    let mut bytes = images.read(&(0..images.len()).collect::<Vec<_>>())?;
    for (index, (image, kind)) in bytes.chunks_exact_mut(len).zip(kinds).enumerate() {
        let phase = phases.at(&[index as u64]).random_range(0.0..TAU);
        let (vertical, periods) = (kind % 2 == 0, PERIODS[kind as usize / 2]);
        for (pixel, values) in image.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (pixel / width, pixel % width);
            let along = match vertical {
                true => row as f64 / height as f64,
                false => column as f64 / width as f64,
            };
            let texture = 127.5 * (1.0 + (TAU * periods * along + phase).sin());
            for value in values {
                let mixed = (1.0 - strength) * f64::from(*value) + strength * texture;
                *value = mixed.round() as u8;
            }
        }
    }
    Ok(Dataset { images: Pixels::from_vec(bytes, len), ..images.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(len: usize) -> Dataset {
        Dataset {
            name: "grey".into(),
            images: Pixels::from_vec(vec![100; len * 28 * 28 * 3], 28 * 28 * 3),
            height: 28,
            width: 28,
            channels: 3,
            labels: None,
            classes: 0,
            class_names: Vec::new(),
        }
    }

    #[test]
    fn textures_lie_along_one_axis_and_grow_with_the_strength() {
        let all: Vec<usize> = (0..40).collect();
        let planted = |strength: f64| plant(&grey(40), strength, "train").unwrap();
        let bytes = |set: &Dataset| set.read(&all).unwrap();
        assert_eq!(bytes(&planted(0.0)), bytes(&grey(40)));
        let (weak, strong) = (planted(0.2), planted(1.0));
        let kinds = kinds(40, "train");
        for (index, kind) in kinds.iter().enumerate() {
            let image = strong.read(&[index]).unwrap();
            let at = |row: usize, column: usize| image[(row * 28 + column) * 3];
            let same = (0..28).all(|i| match kind % 2 == 0 {
                true => at(3, i) == at(3, 0),
                false => at(i, 3) == at(0, 3),
            });
            assert!(same && image.iter().any(|&x| x > 200) && image.iter().any(|&x| x < 55));
            let far = weak.read(&[index]).unwrap().iter().map(|&x| x.abs_diff(100)).max().unwrap();
            assert!((15..=31).contains(&far), "{far}");
        }
        assert!((0..KINDS as u32).all(|kind| kinds.contains(&kind)), "{kinds:?}");
    }

    #[test]
    fn kinds_depend_on_place_and_part_only() {
        assert_eq!(kinds(10, "train"), kinds(20, "train")[..10]);
        assert_ne!(kinds(20, "train"), kinds(20, "test"));
        let many = kinds(8000, "train");
        for kind in 0..KINDS as u32 {
            let share = many.iter().filter(|&&found| found == kind).count();
            assert!((850..1150).contains(&share), "{kind}: {share}");
        }
    }
}
