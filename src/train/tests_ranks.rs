//! Several ranks train the model that one trains; on threads, which are ranks without a library.

use std::path::Path;

use super::folder::RunFolder;
use super::metrics::Summary;
use super::settings::settings;
use super::team::Team;
use super::tests_support::{TempDir, small, write_cifar};
use super::*;
use crate::comm::{Communicator, Ranks};
use crate::config::{Method, RunConfig};
use crate::error::Error;
use crate::kernels::Real;
use crate::metamask;
use crate::nn::{Encoder, params};
use crate::optim::norm;
use crate::rng::Stream;
use crate::tensor::Tensor;
use rand::Rng;

/// Steps that are compared, and images in each.
const STEPS: usize = 20;
const BATCH: usize = 128;

/// Six methods, each alone and with the mask, on a small ResNet; the optimisers take turns.
fn twelve_runs() -> Vec<RunConfig> {
    let dir = Path::new("nowhere");
    let methods = Method::ALL.into_iter().flat_map(|method| [(method, false), (method, true)]);
    let optimizers = ["sgd", "sgd", "adamw", "lars", "nesterov"].into_iter().cycle();
    let config = |((method, masked), optimizer): ((Method, bool), &str)| {
        let (method, masked) =
            (format!("method={}", method.key()), format!("mask.enabled={masked}"));
        let optimizer = format!("optimizer.kind={optimizer}");
        let base = [
            "model.encoder=resnet18",
            "model.width=2",
            "model.contrastive_head=[24, 12]",
            "data.size=8",
            "epochs=2",
            "optimizer.lr=0.02",
        ];
        let mut base = base.to_vec();
        let batch = format!("batch_size={BATCH}");
        base.push(&batch);
        if masked.ends_with("true") {
            base.push("model.redundancy_head=[24, 16]");
        }
        small(dir, &[&[&method, &masked], &base, &[&optimizer]]).finish().unwrap()
    };
    methods.zip(optimizers).map(config).collect()
}

/// Two views of random images: the second is the first with noise.
fn views<T: Real>(step: usize) -> Tensor<T> {
    let mut random = Stream::new(7, "test").at(&[step as u64]);
    let image = BATCH * 8 * 8 * 3;
    let first: Vec<f64> = (0..image).map(|_| random.random_range(-1.0..1.0)).collect();
    let second: Vec<f64> = first.iter().map(|x| x + random.random_range(-0.5..0.5)).collect();
    let all = first.iter().chain(&second).map(|&x| T::from_f64(x)).collect();
    Tensor::from_vec(all, &[2 * BATCH, 8, 8, 3])
}

/// A rank's rows of both views.
fn part<T: Real>(x: &Tensor<T>, ranks: &Ranks) -> Tensor<T> {
    let own = BATCH / ranks.size();
    let row = x.len() / x.shape()[0];
    let rows = |from: usize| &x.as_slice()[from * row..(from + own) * row];
    let at = ranks.rank() * own;
    let both = [rows(at), rows(BATCH + at)].concat();
    Tensor::from_vec(both, &[2 * own, 8, 8, 3])
}

/// What a step says and leaves: the loss, the mask's gradient, all weights.
struct Seen {
    loss: f64,
    mask: Vec<f64>,
    weights: Vec<f64>,
}

fn train<T: Real>(config: &RunConfig, ranks: &Ranks) -> Vec<Seen>
where
    Ranks: Communicator<T>,
{
    let team = Team::new(ranks, config);
    let mut state: metamask::State<T, Encoder<T>> = model::first_state(config, 3);
    let mut seen = Vec::new();
    for step in 0..STEPS {
        let x = part(&views(step), ranks);
        let report;
        (state, report) = team.step(state, &x, &settings(config, step, STEPS / 2));
        assert!(report.non_finite.is_none());
        let numbers =
            |x: &Tensor<T>| -> Vec<f64> { x.as_slice().iter().map(|x| x.to_f64()).collect() };
        let meta = report.mask.and_then(|mask| mask.meta);
        let mut weights: Vec<f64> = Vec::new();
        for p in params(&state.network) {
            weights.extend(numbers(p.value()));
        }
        weights.extend(numbers(&state.mask.logits));
        for (_, mean, var) in state.running.iter() {
            weights.extend(numbers(mean));
            weights.extend(numbers(var));
        }
        let mask = meta.map_or(Vec::new(), |meta| numbers(&meta.gradient));
        seen.push(Seen { loss: report.loss, mask, weights });
    }
    seen
}

/// The length of the difference, over the length of what is expected.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let length = |x: Vec<f64>| norm(&[Tensor::from_slice(&x, &[x.len()])]);
    let difference = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    if expected.is_empty() { 0.0 } else { length(difference) / length(expected.to_vec()) }
}

fn ranks_train_what_one_trains<T: Real>(at_first: f64, at_last: f64)
where
    Ranks: Communicator<T>,
{
    let mut worst = [0f64; 2];
    for config in twelve_runs() {
        let name = config.title();
        let one = train::<T>(&config, &Ranks::alone());
        assert_eq!(one[0].mask.is_empty(), !config.mask.enabled, "{name}");
        for size in [2, 4] {
            let all = Ranks::on_threads(size, |ranks| train::<T>(&config, &ranks));
            for other in &all[1..] {
                let same = |(a, b): (&Seen, &Seen)| a.weights == b.weights && a.mask == b.mask;
                assert!(all[0].iter().zip(other).all(same), "{name}: ranks differ");
            }
            for (step, (found, expected)) in all[0].iter().zip(&one).enumerate() {
                let loss = (found.loss - expected.loss).abs() / expected.loss.abs();
                let errors = [
                    loss,
                    error(&found.mask, &expected.mask),
                    error(&found.weights, &expected.weights),
                ];
                let largest = errors.iter().copied().fold(0.0, f64::max);
                let tolerance = if step == 0 { at_first } else { at_last };
                let at = usize::from(step > 0);
                worst[at] = worst[at].max(largest);
                assert!(
                    largest <= tolerance,
                    "{name} on {size} ranks, step {}: loss, mask gradient and weights are off by \
                     {errors:.1e}",
                    step + 1
                );
            }
        }
    }
    println!("worst after the first step and after {STEPS}: {worst:.1e}");
}

#[test]
fn twelve_runs_on_two_and_four_ranks_are_those_on_one_in_double_precision() {
    ranks_train_what_one_trains::<f64>(1e-10, 1e-10);
}

#[test]
fn twelve_runs_on_two_and_four_ranks_are_those_on_one_in_single_precision() {
    ranks_train_what_one_trains::<f32>(1e-5, 1e-3);
}

#[test]
fn a_step_exchanges_what_its_model_says() {
    let mut seen = 0;
    let extra = [
        &[][..],
        &["mask.meta=finite-difference"],
        &["mask.meta=first-order"],
        &["mask.meta=regular"],
        &["mask.trial=joint-shared"],
        &["mask.compare_every=1"],
        &["model.batch_norm=each-rank"],
    ];
    for config in twelve_runs() {
        for extra in extra {
            if extra.iter().any(|key| key.starts_with("mask")) && config.method != Method::Simclr {
                continue;
            }
            let mut layers = crate::config::Layers::from(&config);
            extra.iter().for_each(|setting| layers.set_text(setting).unwrap());
            let Ok(config) = layers.finish() else { continue };
            for size in [1, 2, 3] {
                let traffic = Ranks::on_threads(size, |ranks| {
                    let team = Team::new(&ranks, &config);
                    let state = model::first_state(&config, 3);
                    let settings = settings(&config, 0, 10);
                    let said = traffic::of_step(&state, &settings, team.batch_norm, 4, size);
                    let x = views(0).slice(&[0; 4], &[8, 8, 8, 3], &[1; 4]);
                    team.step::<f32, _>(state, &x, &settings);
                    (ranks.traffic(), said.unwrap())
                });
                for (found, said) in traffic {
                    assert_eq!(found, said, "{} {extra:?} on {size}", config.title());
                    assert_eq!(found.bytes > 0, size > 1);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
