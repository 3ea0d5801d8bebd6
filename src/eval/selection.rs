//! The best of many, and what is left of its lead where it was not chosen.
//!
//! The best of a thousand random choices looks better than it is: it was picked by the noise of the
//! very images that it is reported on. The control picks on one half and reports on the other.

use rand::seq::SliceRandom;

use super::{argmax, share};
use crate::rng::Stream;

/// A choice made on some images and reported on others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The candidate that was right most often where it was chosen, the first of several.
    pub index: usize,
    /// Its lead over the reference where it was chosen, as a share of images.
    pub seen: f64,
    /// Its lead over the reference where it was not.
    pub unseen: f64,
}

/// Chooses the best candidate on the images `first`, and compares it with the reference there and
/// on the others.
///
/// `candidates[c][i]` says whether candidate `c` is right about image `i`. The choice never looks
/// at the images that are not in `first`.
///
/// # Panics
/// If there are no candidates, lengths differ, or one of the two halves is empty.
#[track_caller]
pub fn choose(candidates: &[Vec<bool>], reference: &[bool], first: &[bool]) -> Choice {
    let lengths = || candidates.iter().map(Vec::len).chain([first.len()]);
    assert!(!candidates.is_empty(), "choose: no candidates");
    let n = reference.len();
    if let Some(other) = lengths().find(|&len| len != n) {
        panic!("choose: lists of {other} and of {n} images");
    }
    let on = |right: &[bool], half: bool| -> f64 {
        let own = right.iter().zip(first).filter(|&(_, &first)| first == half);
        share(&own.map(|(&right, _)| right).collect::<Vec<_>>())
    };
    assert!(first.contains(&true) && first.contains(&false), "choose: an empty half");
    let index = argmax(&candidates.iter().map(|right| on(right, true)).collect::<Vec<_>>());
    let lead = |half| on(&candidates[index], half) - on(reference, half);
    Choice { index, seen: lead(true), unseen: lead(false) }
}

/// Makes the choice of [`choose`] on each of `2 · halvings` random halves of the images: both
/// halves of each halving choose once.
///
/// # Panics
/// As [`choose`], if there are fewer than two images.
#[track_caller]
pub fn control(
    candidates: &[Vec<bool>],
    reference: &[bool],
    halvings: usize,
    seed: u64,
) -> Vec<Choice> {
    let n = reference.len();
    assert!(!candidates.is_empty(), "control: no candidates");
    assert!(n > 1, "control: {n} images cannot be halved");
    if let Some(other) = candidates.iter().map(Vec::len).find(|&len| len != n) {
        panic!("control: lists of {other} and of {n} images");
    }
    let mut choices = Vec::new();
    for halving in 0..halvings {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut Stream::new(seed, "halves").at(&[halving as u64]));
        let mut first = vec![false; n];
        order[..n / 2].iter().for_each(|&i| first[i] = true);
        let second: Vec<bool> = first.iter().map(|&in_first| !in_first).collect();
        choices.extend([first, second].map(|half| choose(candidates, reference, &half)));
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// Candidates that are right about each image by chance.
    fn by_chance(candidates: usize, images: usize) -> Vec<Vec<bool>> {
        let mut rng = Stream::new(1, "test").at(&[]);
        (0..candidates).map(|_| (0..images).map(|_| rng.random_bool(0.6)).collect()).collect()
    }

    #[test]
    fn the_choice_never_looks_at_the_half_that_it_reports() {
        let candidates = by_chance(40, 200);
        let reference = by_chance(1, 200).remove(0);
        let first: Vec<bool> = (0..200).map(|i| i % 3 != 0).collect();
        let choice = choose(&candidates, &reference, &first);
        // Whatever the other half says, the same candidate is chosen, with the same lead there.
        for flipped in 0..40 {
            let mut other = candidates.clone();
            for i in (0..200).filter(|&i| !first[i]) {
                other[flipped][i] = !other[flipped][i];
                other[(flipped + 7) % 40][i] = i % 2 == 0;
            }
            let again = choose(&other, &reference, &first);
            assert_eq!((again.index, again.seen), (choice.index, choice.seen));
        }
    }

    #[test]
    fn a_lead_by_chance_is_gone_on_the_other_half_and_a_real_one_is_not() {
        let mut candidates = by_chance(500, 1000);
        let reference = by_chance(501, 1000).pop().unwrap();
        let mean = |choices: &[Choice], of: fn(&Choice) -> f64| {
            choices.iter().map(of).sum::<f64>() / choices.len() as f64
        };
        let choices = control(&candidates, &reference, 10, 0);
        assert_eq!(choices.len(), 20);
        let (seen, unseen) = (mean(&choices, |c| c.seen), mean(&choices, |c| c.unseen));
        assert!(seen > 0.04 && unseen < 0.5 * seen, "{seen} {unseen}");
        candidates[77] = (0..1000).map(|i| i % 10 != 0).collect();
        let choices = control(&candidates, &reference, 10, 0);
        assert!(choices.iter().all(|c| c.index == 77 && c.unseen > 0.2), "{choices:?}");
    }
}
