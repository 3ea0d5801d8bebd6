//! What the networks see: images beside the two random views that are drawn of them.

use super::Run;
use crate::data::class_by_class;
use crate::error::Result;
use crate::report::Table;
use crate::report::page::Figure;
use crate::report::picture::{BETWEEN, Picture};

pub(super) const TEXT: &str = "\
    Training images, each followed by two random views. The networks are asked to find the views \
    of one image alike: what views destroy, features need not know.";

/// Images beside each other.
const COLUMNS: usize = 3;

/// Images of all classes with two views each.
pub(super) fn views(run: &Run, runs: usize) -> Result<(String, Figure)> {
    let set = &run.images.train;
    let chosen = class_by_class(set, (24 / runs).clamp(COLUMNS, 12));
    let (size, count) = (set.size(), chosen.len());
    let [height, width, channels] = size;
    let len = height * width * channels;
    let originals = set.read(&chosen)?;
    let pairs = run.images.pair(&chosen, 0, run.config.seed)?;
    let [mean, std] = run.images.normalization();
    let byte = |(i, &x): (usize, &f32)| {
        let channel = i % channels;
        let x = (f64::from(x) * std[channel] + mean[channel]) * 255.0;
        x.round().clamp(0.0, 255.0) as u8
    };
    let views: Vec<u8> = pairs.as_slice().iter().enumerate().map(byte).collect();
    let picture = |bytes: &[u8], at: usize| Picture::of(&bytes[at * len..][..len], size).shrunk(48);
    let names = run.class_names();
    let mut data = Table::new(&["training image", "class"]);
    let first = picture(&originals, 0);
    let (high, wide) = (first.height + 6, 3 * (first.width + 1) + 8);
    let columns = COLUMNS.min(count);
    let mut sheet = Picture::new(high * count.div_ceil(columns) - 6, wide * columns - 8, BETWEEN);
    for (i, &image) in chosen.iter().enumerate() {
        let three = [picture(&originals, i), picture(&views, i), picture(&views, count + i)];
        for (place, shown) in three.iter().enumerate() {
            let left = wide * (i % columns) + place * (first.width + 1);
            sheet.lay(high * (i / columns), left, shown);
        }
        let class = set.labels.as_ref().map(|labels| names[labels[image] as usize].clone());
        data.push(vec![image.into(), class.into()]);
    }
    let figure = Figure {
        name: String::new(),
        title: "Images and their views".into(),
        text: "Image, first view, second view.".into(),
        svg: sheet.drawing(),
        data,
    };
    Ok(("views".to_string(), figure))
}
