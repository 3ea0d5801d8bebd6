//! Which images, in which order: seeded choices that depend on nothing but their arguments.

use super::Dataset;
use crate::rng::Stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// The order of an epoch: a permutation of `0..len` that depends only on `seed` and `epoch`.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    shuffle(&mut order, &mut Stream::new(seed, "order").at(&[epoch]));
    order
}

/// The whole batches of an order; the last images, too few for a batch, are left out.
///
/// # Panics
/// If `batch_size` is 0.
#[track_caller]
pub fn batches(order: &[usize], batch_size: usize) -> impl ExactSizeIterator<Item = &[usize]> {
    assert!(batch_size > 0, "batches: a batch of 0 images");
    order.chunks_exact(batch_size)
}

/// A part of the labelled images: from each class that occurs, `fraction` of its images (rounded)
/// and at least one. The indices are in ascending order; `draw` numbers the draws.
///
/// # Panics
/// If `fraction` is not within [0, 1].
#[track_caller]
pub fn stratified_fraction(labels: &[u32], fraction: f64, draw: u64) -> Vec<usize> {
    assert!((0.0..=1.0).contains(&fraction), "stratified_fraction: {fraction} is no fraction");
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut rng = Stream::new(draw, "stratified").at(&[]);
    let mut chosen = Vec::new();
    for mut members in by_class(labels, classes) {
        let count = (members.len() as f64 * fraction).round() as usize;
        shuffle(&mut members, &mut rng);
        chosen.extend(members.iter().take(count.max(1)));
    }
    chosen.sort_unstable();
    chosen
}

/// See [`Dataset::choose`]; the error is the reason.
pub(super) fn choose(dataset: &Dataset, n: usize, seed: u64) -> Result<Vec<usize>, String> {
    let (len, name) = (dataset.len(), &dataset.name);
    if n == 0 || n > len {
        return Err(format!("{n} images asked for, and {name} has {len}"));
    }
    let mut rng = Stream::new(seed, "choose").at(&[]);
    let mut members = groups(dataset);
    let mut counts = vec![n / members.len(); members.len()];
    // Who gives one more is drawn too, among the classes that have one more.
    let mut spare: Vec<usize> =
        (0..members.len()).filter(|&class| members[class].len() > counts[class]).collect();
    shuffle(&mut spare, &mut rng);
    for &class in spare.iter().take(n % members.len()) {
        counts[class] += 1;
    }
    let fewest = members.iter().map(Vec::len).min().unwrap_or(0);
    if fewest < n / members.len() || spare.len() < n % members.len() {
        let class = members.iter().position(|m| m.len() == fewest).unwrap_or(0);
        let most: usize = members.iter().map(|m| m.len().min(fewest + 1)).sum();
        return Err(format!(
            "{n} images with class counts differing by at most one do not exist: class {class} of \
             {name} has {fewest}; at most {most} images can be chosen so, or leave the number out \
             to take all {len}"
        ));
    }
    Ok(take(&mut members, &counts, &mut rng).0)
}

/// See [`Dataset::hold_out`]; the error is the reason.
pub(super) fn hold_out(
    dataset: &Dataset,
    count: usize,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), String> {
    let (len, name) = (dataset.len(), &dataset.name);
    if count == 0 || count >= len {
        return Err(format!("{count} of the {len} images of {name} cannot be held out"));
    }
    let mut members = groups(dataset);
    // Largest remainders, in integers: exact, and ties go to the lower class.
    let share = |class: usize| count * members[class].len();
    let mut counts: Vec<usize> = (0..members.len()).map(|class| share(class) / len).collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(share(class) % len));
    let missing = count - counts.iter().sum::<usize>();
    for &class in &order[..missing] {
        counts[class] += 1;
    }
    let mut rng = Stream::new(seed, "hold out").at(&[]);
    let (held, kept) = take(&mut members, &counts, &mut rng);
    Ok((kept, held))
}

/// Draws `counts[class]` members of each class: (drawn, the others), each in ascending order.
fn take(
    members: &mut [Vec<usize>],
    counts: &[usize],
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<usize>) {
    let (mut drawn, mut others) = (Vec::new(), Vec::new());
    for (members, &count) in members.iter_mut().zip(counts) {
        shuffle(members, rng);
        let (first, rest) = members.split_at(count);
        drawn.extend_from_slice(first);
        others.extend_from_slice(rest);
    }
    drawn.sort_unstable();
    others.sort_unstable();
    (drawn, others)
}

/// The images of each class; without labels one class of all.
fn groups(dataset: &Dataset) -> Vec<Vec<usize>> {
    match &dataset.labels {
        Some(labels) => by_class(labels, dataset.classes),
        None => vec![(0..dataset.len()).collect()],
    }
}

fn by_class(labels: &[u32], classes: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        members[label as usize].push(index);
    }
    members
}

/// Fisher-Yates.
fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

/// Up to `most` images of a set: one of each class in turn, or evenly apart without labels.
pub fn class_by_class(set: &Dataset, most: usize) -> Vec<usize> {
    let most = most.min(set.len());
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
