//! What features look like: their correlations, their map, their neighbours, their confusions.

use super::{Extent, Run, some};
use crate::data::Dataset;
use crate::error::Result;
use crate::eval::KNN200;
use crate::eval::knn::{Knn, knn};
use crate::eval::pca::pca;
use crate::eval::statistics::{
    confusion as counts, correlation as correlate, effective_rank, standardized,
};
use crate::eval::tsne::{Tsne, tsne, unit_rows};
use crate::report::map::{map, table};
use crate::report::page::Figure;
use crate::report::picture::{BETWEEN, Colours, Heat, Picture, shrink};
use crate::report::svg::Svg;
use crate::report::{Table, bars};
use crate::tensor::Tensor;
use crate::train::evaluate::{Judge, masked};

pub(super) const CORRELATION: &str = "\
    The correlation of every feature dimension of one view with every one of the other, over a \
    few hundred training images. Dimensions that repeat each other stand together. A red \
    diagonal says that views agree, colour off it that dimensions repeat each other.";
pub(super) const MAPS: &str = "\
    Test images by the directions of their masked features: along the two of greatest variance \
    (PCA), and so that neighbours stay neighbours (t-SNE, in which distances between clouds mean \
    little). Classes are coloured and named; no label was used to learn or to place them.";
pub(super) const NEIGHBOURS: &str = "\
    A test image, then the eight training images with the nearest features; blue frames are of \
    its class, orange ones are not. Images that were taken for another class come first.";
pub(super) const CONFUSION: &str = "\
    Test images by their class, and what their 200 nearest neighbours among training images say.";

/// Images of which views are correlated.
const PAIRS: usize = 512;
/// Rows of a drawn matrix at most.
const MOST_ROWS: usize = 256;

/// The features that are looked at.
pub(super) struct Looked {
    bank: Dataset,
    test: Dataset,
    features: Tensor,
    /// What neighbours in the bank say, where there are labels.
    found: Option<Knn>,
}

/// Computes features of some images and looks their neighbours up.
pub(super) fn look(run: &Run, extent: &Extent) -> Result<Looked> {
    let judge = Judge::new(&run.images, &run.config);
    let bank = some(&run.images.bank, extent.bank)?;
    // Without labels there are no test images; then some of the others are mapped.
    let test = if run.images.test.is_empty() { &run.images.bank } else { &run.images.test };
    let test = some(test, extent.points)?;
    let features = masked(&judge.features(&run.state, &test)?, &run.state);
    let found = match (&bank.labels, &test.labels) {
        (Some(labels), Some(_)) if !run.images.test.is_empty() => {
            let bank_features = masked(&judge.features(&run.state, &bank)?, &run.state);
            knn(&bank_features, labels, &features, bank.classes, &[KNN200]).pop()
        }
        _ => None,
    };
    Ok(Looked { bank, test, features, found })
}

fn named(name: &str, title: &str, text: String, svg: Svg, data: Table) -> (String, Figure) {
    (name.to_string(), Figure { name: String::new(), title: title.into(), text, svg, data })
}

/// The cross-correlation of two views' masked features.
pub(super) fn correlation(run: &Run) -> Result<(String, Figure)> {
    let set = &run.images.train;
    let batch: Vec<usize> = (0..set.len().min(PAIRS)).collect();
    let judge = Judge::new(&run.images, &run.config);
    let views = run.images.pair(&batch, 0, run.config.seed)?;
    let both = masked(&judge.features_of(&run.state, &views), &run.state);
    let d = both.shape()[1];
    let half = |view: usize| {
        let rows = &both.as_slice()[view * batch.len() * d..][..batch.len() * d];
        Tensor::from_slice(rows, &[batch.len(), d])
    };
    let views = [half(0), half(1)];
    let c = correlate(&views[0], &views[1]);
    let on: f64 = (0..d).map(|i| c.as_slice()[i * d + i]).sum::<f64>() / d as f64;
    let entries = c.as_slice().iter().enumerate().filter(|(i, _)| i / d != i % d);
    let off = entries.map(|(_, c)| c.abs()).sum::<f64>() / (d * d - d).max(1) as f64;
    let order = by_likeness(&views[0]);
    let at = |i: usize| c.as_slice()[order[i / d] * d + order[i % d]];
    let (values, rows) = shrink(&(0..d * d).map(at).collect::<Vec<_>>(), d, MOST_ROWS);
    let axis = |view: &str| [format!("dimension, {view}"), "1".to_string(), d.to_string()];
    let heat = Heat {
        values,
        columns: rows,
        range: [-1.0, 1.0],
        colours: Colours::Diverging,
        x: axis("view 2"),
        y: axis("view 1"),
    };
    let mut data =
        Table { columns: (0..rows).map(|i| format!("column {i}")).collect(), rows: vec![] };
    let rounded = |x: &f64| ((x * 1e4).round() / 1e4).into();
    heat.values.chunks(rows).for_each(|row| data.push(row.iter().map(rounded).collect()));
    let text = format!(
        "Mean on the diagonal {on:.3}, mean size off it {off:.3}, effective rank {:.1} of {d}; {} \
         training images.",
        effective_rank(&views[0]),
        batch.len()
    );
    let side = 330.0;
    Ok(named("cross-correlation", "Cross-correlation of two views", text, heat.draw(side), data))
}

/// The dimensions of features so that those which repeat each other are near: by the angle of their
/// loadings on the first two principal components of the standardised features.
pub fn by_likeness(x: &Tensor) -> Vec<usize> {
    let d = x.shape()[1];
    let axes = pca(&standardized(x), 2).axes;
    let loading = |axis: usize, i: usize| axes.as_slice().get(axis * d + i).copied().unwrap_or(0.0);
    let angle = |i: usize| loading(1, i).atan2(loading(0, i));
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&i, &j| angle(i).total_cmp(&angle(j)).then(i.cmp(&j)));
    order
}

/// The map of the principal components, and t-SNE's.
pub(super) fn maps(run: &Run, looked: &Looked) -> Vec<(String, Figure)> {
    let (names, labels) = (run.class_names(), looked.test.labels.as_deref());
    let n = looked.test.len();
    let draw = |name: &str, title: &str, text: String, points: &[[f64; 2]]| {
        let svg = map(points, labels, &names);
        named(name, title, text, svg, table(points, labels, &names))
    };
    let found = pca(&unit_rows(&looked.features), 2);
    let k = found.shares.len();
    let along = |i: usize, axis: usize| {
        if axis < k { found.scores.as_slice()[i * k + axis] } else { 0.0 }
    };
    let flat: Vec<[f64; 2]> = (0..n).map(|i| [along(i, 0), along(i, 1)]).collect();
    let shares: Vec<String> = found.shares.iter().map(|s| format!("{:.0} %", 100.0 * s)).collect();
    let text = format!("{n} images; {} of the variance lie along the axes.", shares.join(" and "));
    let pca = draw("map-pca", "Principal components", text, &flat);
    let settings = Tsne::default();
    let round = |x: f32| (f64::from(x) * 1e3).round() / 1e3;
    let placed: Vec<[f64; 2]> =
        tsne(&looked.features, &settings).iter().map(|p| p.map(round)).collect();
    let text = format!("{n} images; perplexity {}.", settings.perplexity);
    vec![pca, draw("map-tsne", "t-SNE", text, &placed)]
}

/// Squares of counts by class and vote.
pub(super) fn confusion(run: &Run, looked: &Looked) -> Option<(String, Figure)> {
    let (found, labels) = (looked.found.as_ref()?, looked.test.labels.as_ref()?);
    let (counted, names) = (counts(&found.scores, labels), run.class_names());
    let columns = ["is"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>();
    let mut data = Table::new(&columns);
    for (name, row) in names.iter().zip(&counted) {
        let counts = row.iter().map(|&count| count.into());
        data.push([name.as_str().into()].into_iter().chain(counts).collect());
    }
    let text = format!(
        "{:.2} % of {} images are taken for what they are, with {} training images to compare.",
        100.0 * found.accuracy(labels, 1),
        labels.len(),
        looked.bank.len()
    );
    let svg = bars::counts(&counted, &names, "what they are", "what they are taken for");
    Some(named("confusion", "Confusion", text, svg, data))
}

/// Neighbours of a query on the sheet.
const NEAREST: usize = 8;
/// Okabe and Ito's blue and orange.
const RIGHT: [u8; 3] = [0, 114, 178];
const WRONG: [u8; 3] = [230, 159, 0];

/// Queries and their neighbours, mistaken queries first.
pub(super) fn neighbours(
    run: &Run,
    looked: &Looked,
    runs: usize,
) -> Result<Option<(String, Figure)>> {
    let (Some(found), Some(labels)) = (&looked.found, &looked.test.labels) else { return Ok(None) };
    let Some(bank_labels) = &looked.bank.labels else { return Ok(None) };
    let correct = found.correct(labels, 1);
    // One mistake of each class in turn, then what was right.
    let mut seen = vec![[0; 2]; looked.test.classes];
    let mut order: Vec<(bool, usize, u32, usize)> = (0..labels.len())
        .map(|i| {
            let turn = &mut seen[labels[i] as usize][usize::from(correct[i])];
            *turn += 1;
            (correct[i], *turn, labels[i], i)
        })
        .collect();
    order.sort_unstable();
    let rows = (16 / runs).clamp(3, 8);
    let wrong = order.iter().filter(|(right, ..)| !right).count().min(rows * 3 / 4);
    let right = order.iter().filter(|(right, ..)| *right).take(rows - wrong);
    let chosen: Vec<usize> =
        order.iter().take(wrong).chain(right).map(|&(.., query)| query).collect();
    if chosen.is_empty() {
        return Ok(None);
    }
    let names = run.class_names();
    let mut data =
        Table::new(&["query", "class", "taken for", "rank", "training image", "its class"]);
    let size = looked.test.size();
    let picture = |set: &Dataset, at: usize, colour| {
        let shown = Picture::of(&set.read(&[at])?, size).shrunk(48);
        Ok::<_, crate::Error>(shown.framed(2, colour))
    };
    let mut sheet: Option<Picture> = None;
    for (row, &query) in chosen.iter().enumerate() {
        let own = labels[query];
        let first = picture(&looked.test, query, BETWEEN)?;
        let (high, wide) = (first.height + 3, first.width + 3);
        let sheet = sheet.get_or_insert_with(|| {
            Picture::new(high * chosen.len(), wide * (NEAREST + 1) + 6, BETWEEN)
        });
        sheet.lay(row * high, 0, &first);
        for (rank, &at) in found.neighbours[query].iter().take(NEAREST).enumerate() {
            let class = bank_labels[at as usize];
            let frame = if class == own { RIGHT } else { WRONG };
            let shown = picture(&looked.bank, at as usize, frame)?;
            sheet.lay(row * high, 6 + wide * (rank + 1), &shown);
            let words = [own, found.predictions[query]].map(|class| names[class as usize].clone());
            let [own, taken] = words.map(Into::into);
            let class = names[class as usize].clone().into();
            data.push(vec![query.into(), own, taken, (rank + 1).into(), at.into(), class]);
        }
    }
    let taken = |&query: &usize| {
        let [own, vote] = [labels[query], found.predictions[query]].map(|c| &names[c as usize]);
        if own == vote { own.clone() } else { format!("{own} taken for {vote}") }
    };
    let words: Vec<String> = chosen.iter().map(taken).collect();
    let text = format!("From the top: {}.", words.join("; "));
    let svg = sheet.expect("a query was chosen").drawing();
    Ok(Some(named("neighbours", "Nearest neighbours", text, svg, data)))
}
