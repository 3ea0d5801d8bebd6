//! Nearest neighbours and top-k accuracy.

use super::Check;
use super::case::{Case, Results};
use dimask::Real;
use dimask::eval::knn::{Vote, knn as vote};
use dimask::eval::statistics::topk_accuracy as accuracy;

/// Neighbours, votes and accuracies.
pub fn knn<T: Real>(case: &Case, out: &mut Results) -> Check {
    let votes = [Vote { k: case.attr("k")?, temperature: case.attr("temperature")? }];
    let classes = case.attr("classes")?;
    let (bank, query) = (case.tensor::<T>("bank")?, case.tensor::<T>("query")?);
    let labels = case.indices("query_label")?;
    let found = vote(&bank, &case.indices("bank_label")?, &query, classes, &votes).remove(0);

    let k = found.neighbours.first().map_or(0, Vec::len);
    out.put_indices("neighbours", &[query.shape()[0], k], &found.neighbours.concat());
    out.put("scores", &found.scores);
    out.put_indices("pred_top1", &[labels.len()], &found.predictions);
    for top in [1, 5] {
        let correct = found.correct(&labels, top).into_iter().map(u8::from).collect();
        out.put_bytes(format!("top{top}_correct"), &[labels.len()], correct);
        out.put_scalar(format!("top{top}_accuracy"), found.accuracy(&labels, top));
    }
    Ok(())
}

/// The share of rows whose label is among the k largest logits, for each k.
pub fn topk_accuracy<T: Real>(case: &Case, out: &mut Results) -> Check {
    let (logits, labels) = (case.tensor::<T>("logits")?, case.indices("label")?);
    for k in case.attr::<Vec<usize>>("ks")? {
        out.put_scalar(format!("top{k}_accuracy"), accuracy(&logits, &labels, k));
    }
    Ok(())
}
