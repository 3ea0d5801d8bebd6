//! Whole runs on a few images.

mod effect;
mod ranks;
mod resume;

use std::fs;
use std::path::Path;

use super::*;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::run::container::Container;
use crate::run::folder::RunFolder;
use crate::run::metrics::{Record, StepRecord, Summary};
use crate::run::model;
use crate::run::tests::{TempDir, small, write_cifar};

/// Two epochs of five steps on the images in `dir`, with settings of its own.
fn config(dir: &Path, settings: &[&str]) -> RunConfig {
    let base = [
        "data.images=40",
        "batch_size=8",
        "epochs=2",
        "model.contrastive_head=[24, 8]",
        "model.redundancy_head=[24, 12]",
        "eval.linear_epochs=2",
        "optimizer.lr=0.01",
    ];
    small(dir, &[&base, settings]).finish().unwrap()
}

/// Asks for a stop after a step.
struct StopAt(usize, Stop);

impl Observer for StopAt {
    fn step(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            self.1.request(2);
        }
    }
}

fn stopped_at(config: &RunConfig, out: &Path, step: usize) {
    let stop = Stop::default();
    let result = run(config, out, &mut StopAt(step, stop.clone()), &stop);
    assert!(matches!(result, Err(Error::Interrupted { signal: 2 })), "{result:?}");
}

fn resumed(dir: &Path) -> Summary {
    match resume(dir, &mut (), &Stop::default()).unwrap() {
        Outcome::Done(summary) => summary,
        Outcome::AlreadyFinished(_) => panic!("{} was finished", dir.display()),
    }
}

fn records(dir: &Path) -> Vec<Record> {
    let text = fs::read_to_string(RunFolder::new(dir).metrics()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_stopped_run_comes_to_the_bits_of_one_that_was_not() {
    let dir = TempDir::new("resume");
    write_cifar(dir.path());
    let config = config(dir.path(), &["checkpoint_every=2", "mask.compare_every=4"]);
    let whole = dir.path().join("whole");
    let summary = run(&config, &whole, &mut (), &Stop::default()).unwrap();
    let final_bytes = fs::read(RunFolder::new(&whole).checkpoint()).unwrap();

    // In the middle of an epoch, at its end, and before the last judgement.
    for step in [3, 5, 10] {
        let part = dir.path().join(format!("part{step}"));
        stopped_at(&config, &part, step);
        assert!(!RunFolder::new(&part).is_finished());
        let again = resumed(&part);
        assert_eq!(again.weights_sha256, summary.weights_sha256, "stopped at {step}");
        assert_eq!(again.judgement, summary.judgement);
        assert!(fs::read(RunFolder::new(&part).checkpoint()).unwrap() == final_bytes);
        assert_eq!(records(&part).len(), 12, "ten steps and two epochs");
        let finished = resume(&part, &mut (), &Stop::default()).unwrap();
        assert_eq!(finished, Outcome::AlreadyFinished(again));
    }

    // Killed before the first checkpoint, and with a record that no checkpoint knows of.
    let early = dir.path().join("early");
    stopped_at(&config, &early, 1);
    let folder = RunFolder::new(&early);
    [folder.checkpoint(), folder.previous()].iter().for_each(|f| fs::remove_file(f).unwrap());
    assert_eq!(resumed(&early).weights_sha256, summary.weights_sha256);
    assert_eq!(records(&early).len(), 12);
}

#[test]
fn a_resumed_run_remembers_its_best_epoch() {
    let dir = TempDir::new("best");
    write_cifar(dir.path());
    let config = config(dir.path(), &["data.val_split=8"]);
    let summary = run(&config, &dir.path().join("whole"), &mut (), &Stop::default()).unwrap();
    assert!(summary.best_epoch.is_some() && summary.judgement.best.knn5.is_some());
    // After either epoch; after the last one, all that could be best has been.
    for step in [5, 10] {
        let part = dir.path().join(format!("part{step}"));
        stopped_at(&config, &part, step);
        let again = resumed(&part);
        assert_eq!(again.best_epoch, summary.best_epoch, "stopped at {step}");
        assert_eq!(again.judgement, summary.judgement, "stopped at {step}");
    }
}

#[test]
fn a_run_leaves_what_it_promises() {
    let dir = TempDir::new("run");
    write_cifar(dir.path());
    let config = config(dir.path(), &["eval.every=1"]);
    let out = dir.path().join("out");
    let summary = run(&config, &out, &mut (), &Stop::default()).unwrap();
    let folder = RunFolder::new(&out);
    assert_eq!(Summary::read(&folder).unwrap(), summary);
    assert_eq!(folder.read_config().unwrap(), config);
    assert_eq!(summary.config_sha256, config.sha256());
    let found = &summary.judgement;
    for score in [found.trained.knn5, found.raw.linear, found.untrained.probe_1pct] {
        assert!((0.0..=100.0).contains(&score.unwrap()));
    }

    let records = records(&out);
    let Record::Step(first) = &records[0] else { panic!("{records:?}") };
    assert_eq!((first.step, first.epoch, first.lr), (1, 1, 0.01));
    assert!(first.mask_grad_norm.unwrap() > 0.0 && first.second_order_norm.unwrap() > 0.0);
    let (con, drr) = (first.loss_con, first.loss_drr.unwrap());
    let joint = config.loss.w_con * con + config.loss.w_drr * drr;
    assert!((first.loss - joint).abs() < 1e-4 * joint, "{first:?}");
    let Record::Epoch(last) = &records[11] else { panic!("{records:?}") };
    assert!((last.knn5.unwrap() - found.trained.knn5.unwrap()).abs() < 0.01);
    assert!(last.mask_min < last.mask_max);

    let checkpoint = Container::read(&folder.checkpoint()).unwrap();
    let shape = |name: &str| checkpoint.tensors[name].shape.clone();
    assert_eq!(shape("0.weight"), [32, 3, 3, 3]);
    assert_eq!(shape("12.weight"), [256, 128, 3, 3]);
    assert_eq!(shape("13.running_var"), [256]);
    assert_eq!(shape("13.num_batches_tracked"), [0; 0]);
    assert_eq!(shape("head.base.fc1.weight"), [24, 256]);
    assert_eq!(shape("head.redundancy.bn2.running_mean"), [12]);
    assert_eq!(shape("optim.momentum.head.redundancy.fc2.weight"), [12, 24]);
    let logits = ["mask.logits", "optim.momentum.mask.logits"].map(shape);
    assert_eq!(logits, [[256], [256]]);

    let error = run(&config, &out, &mut (), &Stop::default()).unwrap_err();
    assert!(error.to_string().contains("already has a run"), "{error}");
}

#[test]
fn plain_methods_and_other_gradients_run() {
    let dir = TempDir::new("methods");
    write_cifar(dir.path());
    let cases: [&[&str]; 8] = [
        &["mask.enabled=false"],
        &["mask.enabled=false", "method=barlow-twins"],
        &["mask.meta=off"],
        &["mask.meta=random", "optimizer.kind=adamw", "optimizer.lr=0.001"],
        &["mask.meta=regular", "optimizer.kind=nesterov"],
        &["mask.meta=first-order", "mask.squash=none"],
        &["mask.meta=finite-difference", "mask.trial=joint", "schedule.per=step"],
        &["mask.unroll=2", "optimizer.kind=lars", "loss.w_drr=0"],
    ];
    for (number, settings) in cases.into_iter().enumerate() {
        let config = config(dir.path(), &[&["epochs=1"], settings].concat());
        let out = dir.path().join(number.to_string());
        stopped_at(&config, &out, 2);
        let summary = resumed(&out);
        assert!(summary.judgement.trained.knn200.is_some(), "{settings:?}");
        let Record::Step(first) = records(&out).remove(0) else { panic!() };
        let masked = number >= 2;
        assert_eq!(first.mask_grad_norm.is_some(), number >= 4, "{settings:?}");
        assert_eq!(first.loss_drr.is_some(), masked && number != 7);
        let checkpoint = Container::read(&RunFolder::new(&out).checkpoint()).unwrap();
        assert_eq!(checkpoint.tensors.contains_key("mask.logits"), masked);
    }
}

/// Remembers what is noted.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
}

#[test]
fn a_queue_longer_than_the_images_is_cut_with_a_warning() {
    let dir = TempDir::new("queue");
    write_cifar(dir.path());
    let settings = ["method=nnclr", "model.predictor_head=[16, 8]", "mask.enabled=false"];
    let out = dir.path().join("out");
    let mut notes = Notes::default();
    run(&config(dir.path(), &settings), &out, &mut notes, &Stop::default()).unwrap();
    let cut = "warning: loss.queue is 4096, more than the 40 training images; cut to 40";
    assert!(notes.0.iter().any(|note| note == cut), "{:?}", notes.0);
    assert_eq!(RunFolder::new(&out).read_config().unwrap().loss.queue, 40);
    let checkpoint = Container::read(&RunFolder::new(&out).checkpoint()).unwrap();
    assert_eq!(checkpoint.tensors["memory.queue"].shape, [40, 8]);
}

#[test]
fn divergence_is_named_and_leaves_the_last_good_checkpoint() {
    let dir = TempDir::new("diverge");
    write_cifar(dir.path());
    let settings = ["optimizer.lr=1e30", "checkpoint_every=1", "mask.enabled=false"];
    let config = config(dir.path(), &settings);
    let out = dir.path().join("out");
    let error = run(&config, &out, &mut (), &Stop::default()).unwrap_err();
    let Error::Diverged { step, part } = &error else { panic!("{error}") };
    assert!(*step >= 2 && part.contains("layer"), "{error}");
    let (_, _, state) = load(&out, Ok, &mut ()).unwrap();
    crate::nn::Module::visit(&state.network, &mut |name, var: &crate::autodiff::Var, _| {
        assert!(var.value().is_finite(), "{name}");
    });
}

#[test]
fn weights_come_from_a_file_or_an_error_names_the_tensor() {
    let dir = TempDir::new("init");
    write_cifar(dir.path());
    let first = dir.path().join("first");
    let config_of = |settings: &[&str]| config(dir.path(), settings);
    stopped_at(&config_of(&["epochs=1"]), &first, 5);
    let file = RunFolder::new(&first).checkpoint();
    let init = format!("init={}", file.display());

    let plain = config_of(&[&init, "mask.enabled=false", "seed=2"]);
    let mut state = model::first_state(&plain, 3);
    let taken = model::read_first_weights(&plain, &mut state, &file).unwrap();
    assert_eq!(taken, "the encoder, the heads");
    let mut written = Container::read(&file).unwrap();
    let again = model::checkpoint(&plain, &state, 5, 1);
    for name in ["0.weight", "13.running_var", "head.base.bn2.bias"] {
        assert_eq!(again.tensors[name], written.tensors[name], "{name}");
    }

    // A run tells what was in the file, also one that has gone on since.
    let from = |name: &str, settings: &[&str]| {
        let out = dir.path().join(name);
        let base = [&init, "mask.enabled=false", "epochs=1"];
        stopped_at(&config_of(&[&base, settings].concat()), &out, 2);
        resumed(&out)
    };
    let (one, same) = (from("one", &[]), from("same", &[]));
    assert_eq!(one.init_sha256.as_ref().map(String::len), Some(64));
    assert_eq!((&one.init_sha256, &one.weights_sha256), (&same.init_sha256, &same.weights_sha256));
    let bytes = fs::read(&file).unwrap();
    model::checkpoint(&plain, &model::first_state(&plain, 3), 0, 0).write(&file).unwrap();
    let other = from("other", &[]);
    assert_eq!(other.config_sha256, one.config_sha256, "the file has the same name");
    assert_ne!(other.init_sha256, one.init_sha256);
    fs::write(&file, bytes).unwrap();

    // Logits are taken in their own form only.
    for (settings, expected, whole) in [
        (["mask.meta=exact", "mask.squash=sigmoid"], "the encoder, the heads, the mask", true),
        (["mask.meta=off", "mask.squash=sigmoid"], "stays at ones", false),
        (["mask.meta=exact", "mask.squash=none"], "not learned in this run's form", false),
    ] {
        let config = config_of(&[&init, settings[0], settings[1]]);
        let mut state = model::first_state(&config, 3);
        let before = state.mask.logits.to_vec();
        let taken = model::read_first_weights(&config, &mut state, &file).unwrap();
        assert!(taken.contains(expected), "{taken}");
        assert_eq!(state.mask.logits.to_vec() != before, whole, "{settings:?}");
    }

    let refused = |result: Result<String>, expected: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    let other = config_of(&["model.contrastive_head=[30, 8]"]);
    let mut state = model::first_state(&other, 3);
    refused(
        model::read_first_weights(&other, &mut state, &file),
        "head.base.fc1.weight: expected floats of shape [30, 256], found shape [24, 256]",
    );
    let other = config_of(&["model.encoder=resnet18"]);
    let mut state = model::first_state(&other, 3);
    refused(
        model::read_first_weights(&other, &mut state, &file),
        "conv1.weight: expected floats of shape [64, 3, 3, 3], found no such tensor",
    );

    // A checkpoint that another run has left, and one that is no checkpoint.
    let text = model::read_checkpoint(&config_of(&["seed=7"]), 3, &file).unwrap_err().to_string();
    assert!(text.contains("settings: expected the run's"), "{text}");
    written.meta.clear();
    written.write(&file).unwrap();
    fs::remove_file(RunFolder::new(&first).previous()).unwrap();
    let text = load(&first, Ok, &mut ()).unwrap_err().to_string();
    assert!(text.contains("expected a checkpoint of dimask"), "{text}");
}
