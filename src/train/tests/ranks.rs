//! Several ranks train the model that one trains; on threads, which are ranks without a library.

use std::path::Path;

use crate::comm::{Number, Ranks};
use crate::config::{Method, RunConfig};
use crate::error::Result;
use crate::kernels::Real;
use crate::metamask;
use crate::nn::{Encoder, params};
use crate::optim::norm;
use crate::rng::Stream;
use crate::run::folder::RunFolder;
use crate::run::metrics::{Record, Summary};
use crate::run::model;
use crate::run::settings::settings;
use crate::run::tests::{TempDir, small, tiny, write_cifar};
use crate::tensor::Tensor;
use crate::train::team::Team;
use crate::train::*;
use rand::Rng;

/// Steps that are compared, and images in each.
const STEPS: usize = 20;
const BATCH: usize = 128;

/// A deep network of few numbers.
const DEEP: [&str; 5] = [
    "model.encoder=resnet18",
    "model.width=8",
    "model.contrastive_head=[24, 12]",
    "data.size=8",
    "optimizer.lr=0.0005",
];

/// A network of wide layers at a small rate, where the rounding of single precision stays small.
const WIDE: [&str; 4] = [
    "model.encoder=conv4",
    "model.contrastive_head=[128, 12]",
    "data.size=16",
    "optimizer.lr=0.000005",
];

/// Six methods, each alone and with the mask; the optimisers take turns.
fn twelve_runs(network: &[&str]) -> Vec<RunConfig> {
    let dir = Path::new("nowhere");
    let methods = Method::ALL.into_iter().flat_map(|method| [(method, false), (method, true)]);
    let optimizers = ["sgd", "nesterov", "sgd"].into_iter().cycle();
    let config = |((method, masked), optimizer): ((Method, bool), &str)| {
        let predicts = method.predicts();
        let (method, masked) =
            (format!("method={}", method.key()), format!("mask.enabled={masked}"));
        let optimizer = format!("optimizer.kind={optimizer}");
        let batch = format!("batch_size={BATCH}");
        let mut base = vec!["epochs=2", &batch];
        if masked.ends_with("true") {
            base.push("model.redundancy_head=[24, 16]");
        }
        if predicts {
            base.push("model.predictor_head=[16, 12]");
        }
        small(dir, &[&[&method, &masked], network, &base, &[&optimizer]]).finish().unwrap()
    };
    methods.zip(optimizers).map(config).collect()
}

/// Two views of random smooth images: the second is the first with noise.
fn views<T: Real>(step: usize, side: usize) -> Tensor<T> {
    let mut random = Stream::new(7, "test").at(&[step as u64]);
    let mut first = Vec::new();
    for _ in 0..BATCH {
        let waves: [[f64; 3]; 4] =
            std::array::from_fn(|_| std::array::from_fn(|_| random.random_range(-1.0..1.0)));
        for pixel in 0..side * side {
            let [y, x] = [pixel / side, pixel % side].map(|at| 3.0 * at as f64 / side as f64);
            let shape = [1.0, y.cos(), x.cos(), y.sin() * x.sin()];
            first.extend(
                (0..3).map(|c| shape.iter().zip(&waves).map(|(s, w)| s * w[c]).sum::<f64>()),
            );
        }
    }
    let second: Vec<f64> = first.iter().map(|x| x + random.random_range(-0.3..0.3)).collect();
    let all = first.iter().chain(&second).map(|&x| T::from_f64(x)).collect();
    Tensor::from_vec(all, &[2 * BATCH, side, side, 3])
}

/// A rank's rows of both views.
fn part<T: Real>(x: &Tensor<T>, ranks: &Ranks) -> Tensor<T> {
    let own = BATCH / ranks.size();
    let row = x.len() / x.shape()[0];
    let rows = |from: usize| &x.as_slice()[from * row..(from + own) * row];
    let at = ranks.rank() * own;
    let both = [rows(at), rows(BATCH + at)].concat();
    Tensor::from_vec(both, &[&[2 * own], &x.shape()[1..]].concat())
}

/// What a step says and leaves: the loss, the length of the networks' gradient, the mask's
/// gradient, all weights.
struct Seen {
    loss: f64,
    gradient: f64,
    mask: Vec<f64>,
    weights: Vec<f64>,
}

fn train<T: Number>(config: &RunConfig, ranks: &Ranks, steps: usize) -> Vec<Seen> {
    let team = Team::new(ranks, config);
    let mut state: metamask::State<T, Encoder<T>> = model::first_state(config, 3);
    let mut seen = Vec::new();
    for step in 0..steps {
        let x = part(&views(step, config.data.size), ranks);
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
        seen.push(Seen { loss: report.loss, gradient: report.gradient_norm, mask, weights });
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

/// How far a step on several ranks is from the one on a single rank, of which run and where.
struct Off {
    place: String,
    step: usize,
    loss: f64,
    gradient: f64,
    mask: f64,
    weights: f64,
}

/// The twelve runs on two and four ranks against one.
fn compare<T: Number>(network: &[&str], steps: usize) -> Vec<Off> {
    let mut off = Vec::new();
    for config in twelve_runs(network) {
        let name = config.title();
        let one = train::<T>(&config, &Ranks::alone(), steps);
        assert_eq!(one[0].mask.is_empty(), !config.mask.enabled, "{name}");
        for size in [2, 4] {
            let all = Ranks::on_threads(size, |ranks| train::<T>(&config, &ranks, steps));
            for other in &all[1..] {
                let same = |(a, b): (&Seen, &Seen)| a.weights == b.weights && a.mask == b.mask;
                assert!(all[0].iter().zip(other).all(same), "{name}: ranks differ");
            }
            for (step, (found, expected)) in all[0].iter().zip(&one).enumerate() {
                let relative =
                    |found: f64, expected: f64| (found - expected).abs() / expected.abs();
                off.push(Off {
                    place: format!("{name} on {size} ranks, step {}", step + 1),
                    step,
                    loss: relative(found.loss, expected.loss),
                    gradient: relative(found.gradient, expected.gradient),
                    mask: error(&found.mask, &expected.mask),
                    weights: error(&found.weights, &expected.weights),
                });
            }
        }
    }
    off
}

#[test]
fn twelve_runs_on_two_and_four_ranks_are_those_on_one_in_double_precision() {
    for Off { place, loss, gradient, mask, weights, .. } in compare::<f64>(&DEEP, STEPS) {
        let errors = [loss, gradient, mask, weights];
        assert!(errors.iter().all(|&error| error <= 1e-10), "{place}: {errors:?}");
    }
}

/// Single precision, after the first step and the last. Roundings may move a ReLU or a maximum
/// across its kink, a few of the millions that a step has, and one is about 1e-2 of the mask's
/// gradient: of gradients the middle one of the runs is held to the tolerance. At this rate weights
/// hardly move, so the networks' gradients are compared too.
fn single_precision_holds(steps: usize) {
    let off = compare::<f32>(&WIDE, steps);
    for (step, tolerance) in [(0, 1e-5), (steps - 1, 1e-3)] {
        let (mut gradients, mut masks) = (Vec::new(), Vec::new());
        for Off { place, loss, gradient, mask, weights, .. } in
            off.iter().filter(|off| off.step == step)
        {
            assert!(loss.max(*weights) <= tolerance, "{place}: {loss:e}, {weights:e}");
            gradients.push(*gradient);
            masks.extend((*mask > 0.0).then_some(*mask));
        }
        assert_eq!(masks.len(), 12, "six methods with a mask on two numbers of ranks");
        for mut errors in [gradients, masks] {
            errors.sort_by(f64::total_cmp);
            let (middle, last) = (errors[errors.len() / 2], errors[errors.len() - 1]);
            assert!(middle <= tolerance && last <= 0.1, "step {}: {errors:?}", step + 1);
        }
    }
}

#[test]
fn twelve_first_steps_on_two_and_four_ranks_are_those_on_one_in_single_precision() {
    single_precision_holds(1);
}

#[test]
#[ignore = "a minute or two"]
fn twelve_runs_on_two_and_four_ranks_are_those_on_one_in_single_precision() {
    single_precision_holds(STEPS);
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
    // One of them has gradients for several buckets.
    let wide = twelve_runs(&WIDE).into_iter().skip(3).take(1);
    for config in twelve_runs(&DEEP).into_iter().chain(wide) {
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
                    let side = config.data.size;
                    let x = views(0, side).slice(&[0; 4], &[8, side, side, 3], &[1; 4]);
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

/// Batches that four ranks can share.
const EVEN: [&str; 2] = ["data.images=32", "batch_size=8"];

/// Asks for a stop when a step is done.
struct StopAt(usize, Stop);

impl Observer for StopAt {
    fn step(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            self.1.request(15);
        }
    }
}

/// Starts or goes on with a run on `size` ranks; `stop_at` is seen by the last of them alone.
fn run_part(config: &RunConfig, out: &Path, size: usize, stop_at: usize) -> Vec<Result<Summary>> {
    let started = RunFolder::new(out).config().exists();
    Ranks::on_threads(size, |ranks| {
        let stop = Stop::default();
        let at = if ranks.rank() + 1 == size { stop_at } else { 0 };
        let mut observer = StopAt(at, stop.clone());
        match started {
            false => run_on(&ranks, config, out, &mut observer, &stop),
            true => resume_on(&ranks, out, &mut observer, &stop).map(|outcome| match outcome {
                Outcome::Done(summary) | Outcome::AlreadyFinished(summary) => summary,
            }),
        }
    })
}

/// The losses of all steps of a run.
fn losses(out: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(RunFolder::new(out).metrics()).unwrap();
    let record = |line: &str| serde_json::from_str::<Record>(line).unwrap();
    let loss = |record: Record| match record {
        Record::Step(step) => Some(step.loss),
        Record::Epoch(_) => None,
    };
    text.lines().map(record).filter_map(loss).collect()
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks_and_repeats_on_as_many() {
    let dir = TempDir::new("ranks");
    write_cifar(dir.path());
    for settings in [
        &["method=simclr"][..],
        &["method=byol", "optimizer.kind=lars", "model.predictor_head=[8, 6]"],
    ] {
        let config = tiny(dir.path(), &[&EVEN[..], settings].concat());
        let out = |name: &str| dir.path().join(format!("{}-{name}", config.method.key()));
        let one = run_part(&config, &out("one"), 1, 0).remove(0).unwrap();
        let expected = losses(&out("one"));
        assert_eq!(expected.len(), 8);

        // The step after each stop, as one rank takes it from the same state.
        let mut alone = Vec::new();
        let stops = [(2, 3), (4, 6), (1, 7)];
        for (size, at) in stops {
            for error in run_part(&config, &out("parts"), size, at) {
                // One rank has seen the signal, all have stopped for it.
                let error = error.unwrap_err();
                assert!(error.to_string().contains("signal 15"), "{error}");
            }
            assert_eq!(losses(&out("parts")).len(), at);
            let fork = out(&format!("fork-{at}"));
            std::fs::create_dir(&fork).unwrap();
            for file in std::fs::read_dir(out("parts")).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), fork.join(file.file_name())).unwrap();
            }
            drop(run_part(&config, &fork, 1, at + 1)); // Stopped, or at its end.
            alone.push((at, losses(&fork)[at]));
        }
        let ends = run_part(&config, &out("parts"), 2, 0);
        for end in &ends {
            assert_eq!(end.as_ref().unwrap(), ends[0].as_ref().unwrap());
        }
        for name in ["twice", "again"] {
            run_part(&config, &out(name), 2, 0).into_iter().for_each(|end| drop(end.unwrap()));
        }
        let weights =
            |name: &str| Summary::read(&RunFolder::new(out(name))).unwrap().weights_sha256;
        assert_eq!(weights("twice"), weights("again"));
        assert_ne!(weights("twice"), one.weights_sha256, "sums have another order");
        // A step on any number of ranks, first or after a stop, is that of one from the same state.
        // Whole runs on batches this small are ill-conditioned; the twelve runs have them.
        let (parts, twice) = (losses(&out("parts")), losses(&out("twice")));
        assert_eq!((parts.len(), twice.len()), (8, 8));
        let after = alone.into_iter().map(|(at, loss)| (parts[at], loss));
        for (found, expected) in after.chain([(parts[0], expected[0]), (twice[0], expected[0])]) {
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found}, {expected}");
        }
    }
}

#[test]
fn what_one_rank_cannot_do_ends_all_with_its_name() {
    let dir = TempDir::new("ranks-refused");
    write_cifar(dir.path());
    let said = |size: usize, own: &(dyn Fn(usize) -> RunConfig + Sync)| -> Vec<String> {
        let out = dir.path().join("never");
        let results = Ranks::on_threads(size, |ranks| {
            let config = own(ranks.rank());
            run_on(&ranks, &config, &out, &mut (), &Stop::default()).unwrap_err().to_string()
        });
        assert!(!out.exists());
        results
    };
    let config = tiny(dir.path(), &EVEN);
    for text in
        said(3, &|rank| RunConfig { epochs: if rank == 2 { 3 } else { 2 }, ..config.clone() })
    {
        assert_eq!(
            text,
            "the ranks: rank 2 has epochs = 3, rank 0 has epochs = 2: they cannot train one model"
        );
    }
    for text in said(3, &|_| config.clone()) {
        assert_eq!(text, "batch_size: is 8, which 3 ranks cannot share evenly");
    }
    for text in said(8, &|_| config.clone()) {
        assert_eq!(text, "batch_size: is 8, too few for 8 ranks");
    }
    let elsewhere = |rank: usize| {
        let mut config = config.clone();
        if rank == 1 {
            config.data.path = dir.path().join("nothing").display().to_string();
        }
        config
    };
    let texts = said(2, &elsewhere);
    assert!(texts[0].starts_with("rank 1: ") && texts[0].ends_with(&texts[1]), "{texts:?}");

    // Rank 0's work is told too: its folder is taken.
    std::fs::create_dir(dir.path().join("used")).unwrap();
    let used = dir.path().join("used");
    std::fs::write(used.join("config.toml"), "").unwrap();
    let texts = Ranks::on_threads(2, |ranks| {
        run_on(&ranks, &config, &used, &mut (), &Stop::default()).unwrap_err().to_string()
    });
    assert!(texts[0].contains("already has a run") && texts[1] == format!("rank 0: {}", texts[0]));
}

#[test]
fn statistics_of_each_rank_are_another_choice_with_one_state() {
    let config = twelve_runs(&DEEP).swap_remove(3);
    let mut each = config.clone();
    each.model.batch_norm = crate::config::BatchNormOver::EachRank;
    let last = |config: &RunConfig, size| {
        let all = Ranks::on_threads(size, |ranks| train::<f64>(config, &ranks, 2));
        assert!(all.iter().all(|seen| seen[1].weights == all[0][1].weights));
        all[0][1].weights.clone()
    };
    assert_eq!(last(&each, 1), last(&config, 1));
    let off = error(&last(&each, 2), &last(&config, 2));
    assert!(off > 1e-6, "{off:e}");
}
