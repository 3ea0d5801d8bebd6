//! Runs that stop anywhere come to the bits of one that never stopped; damage is passed over; a
//! step that diverges is found again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::{Method, RunConfig, hex};
use crate::error::{Error, Result};
use crate::run::container::Container;
use crate::run::folder::RunFolder;
use crate::run::metrics::{Record, StepRecord, Summary};
use crate::run::model;
use crate::run::tests::{TempDir, tiny, write_cifar};
use crate::train::diverged::Dump;
use crate::train::images::Images;
use crate::train::*;

/// Steps of a run: two epochs of four.
const STEPS: usize = 8;

/// Notes what is told, and what the checkpoint is when a step is done but not yet saved: the one
/// after the step before. Asks for a stop after a step.
struct Watcher {
    folder: RunFolder,
    states: Vec<String>,
    notes: Vec<String>,
    stop_at: usize,
    stop: Stop,
}

impl Watcher {
    fn new(out: &Path, stop_at: usize) -> Watcher {
        let (states, notes) = (Vec::new(), Vec::new());
        Watcher { folder: RunFolder::new(out), states, notes, stop_at, stop: Stop::default() }
    }
}

impl Observer for Watcher {
    fn step(&mut self, record: &StepRecord) {
        // A damaged one has been put aside, and the next is not yet written.
        let checkpoint = self.folder.checkpoint();
        self.states.push(if checkpoint.exists() { sha256(&checkpoint) } else { String::new() });
        if record.step == self.stop_at {
            self.stop.request(2);
        }
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }
}

fn sha256(path: &Path) -> String {
    hex(&Sha256::digest(fs::read(path).unwrap()))
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Starts or goes on with a run until `stop_at`; what it has ended with, and its watcher.
fn part(config: &RunConfig, out: &Path, stop_at: usize) -> (Result<Outcome>, Watcher) {
    let mut watcher = Watcher::new(out, stop_at);
    let stop = watcher.stop.clone();
    let result = match watcher.folder.config().exists() {
        false => run(config, out, &mut watcher, &stop).map(Outcome::Done),
        true => resume(out, &mut watcher, &stop),
    };
    (result, watcher)
}

fn done(result: Result<Outcome>) -> Summary {
    match result.unwrap() {
        Outcome::Done(summary) => summary,
        Outcome::AlreadyFinished(_) => panic!("it was finished"),
    }
}

/// All that is recorded, but for times.
fn records(out: &Path) -> Vec<BTreeMap<String, serde_json::Value>> {
    let text = fs::read_to_string(RunFolder::new(out).metrics()).unwrap();
    let line = |line: &str| {
        let mut record: BTreeMap<_, _> = serde_json::from_str(line).unwrap();
        record.retain(|key: &String, _| {
            !["elapsed", "seconds", "images_per_second"].contains(&key.as_str())
        });
        record
    };
    text.lines().map(line).collect()
}

#[test]
fn every_run_that_stops_after_every_step_comes_to_the_bits_of_one_that_never_stops() {
    let dir = TempDir::new("every");
    write_cifar(dir.path());
    let optimizers = ["sgd", "adamw", "lars"].into_iter().cycle();
    let runs = Method::ALL.into_iter().flat_map(|method| [(method, false), (method, true)]);
    for (optimizer, (method, masked)) in optimizers.zip(runs) {
        let name = format!("{}-{masked}", method.key());
        let settings = [
            &*format!("method={}", method.key()),
            &format!("mask.enabled={masked}"),
            &format!("optimizer.kind={optimizer}"),
            "mask.compare_every=3",
            "model.predictor_head=[8, 6]",
            "loss.queue=12",
            "data.val_split=8",
        ];
        let config = tiny(dir.path(), &settings);
        let [whole, parts] =
            ["whole", "parts"].map(|part| dir.path().join(format!("{name}-{part}")));
        let (result, mut states) = with_threads(1, || {
            let (result, watcher) = part(&config, &whole, usize::MAX);
            (result, watcher.states)
        });
        let summary = done(result);
        let checkpoint = RunFolder::new(&whole).checkpoint();
        states.push(sha256(&checkpoint));
        assert_eq!(states.len(), STEPS + 1);

        for step in 1..=STEPS {
            let result = with_threads([2, 1, 3, 7][step % 4], || part(&config, &parts, step).0);
            assert!(matches!(result, Err(Error::Interrupted { signal: 2 })), "{name}: {result:?}");
            let own = sha256(&RunFolder::new(&parts).checkpoint());
            assert_eq!(own, states[step], "{name}: the state after step {step}");
        }
        let again = with_threads(3, || done(part(&config, &parts, usize::MAX).0));
        assert_eq!(again.weights_sha256, summary.weights_sha256, "{name}");
        assert_eq!(again.judgement, summary.judgement, "{name}");
        assert_eq!(again.best_epoch, summary.best_epoch, "{name}");
        assert_eq!(records(&parts), records(&whole), "{name}");
        assert_eq!(records(&whole).len(), STEPS + 2, "{name}");

        let tensors = Container::read(&checkpoint).unwrap().tensors;
        let has = |prefix: &str| tensors.keys().any(|name| name.starts_with(prefix));
        assert_eq!(has("mask.logits"), masked, "{name}");
        assert_eq!(has("memory.target."), method == Method::Byol, "{name}");
        assert_eq!(has("memory.queue"), method == Method::Nnclr, "{name}");
        assert!(has("optim."), "{name}");

        // What is watched for collapse is there, and a step that is looked at is all finite.
        let record = fs::read_to_string(RunFolder::new(&whole).metrics()).unwrap();
        let Record::Epoch(last) = serde_json::from_str(record.lines().last().unwrap()).unwrap()
        else {
            panic!("{record}")
        };
        assert!(last.feature_std.unwrap() > 0.0 && last.effective_rank.unwrap() > 1.0);
        assert!(last.projection_std.unwrap() > 0.0 && last.projection_rank.unwrap() > 1.0);
        assert_eq!(last.mask_entropy.is_some(), masked);
        let images = Images::load(&config).unwrap();
        let state = model::read_checkpoint(&config, 3, &checkpoint).unwrap().0;
        let dump = Dump::new(&config, &images, state, STEPS - 1).unwrap();
        assert_eq!(dump.cause(), Vec::<String>::new(), "{name}");
    }
}

/// A run that was stopped after step 3, and has the checkpoints of steps 2 and 3.
fn stopped(dir: &Path, settings: &[&str]) -> (RunConfig, RunFolder) {
    let config = tiny(dir, settings);
    let out = dir.join("stopped");
    let result = part(&config, &out, 3).0;
    assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}");
    (config, RunFolder::new(out))
}

#[test]
fn a_damaged_checkpoint_is_found_and_the_one_before_serves() {
    let dir = TempDir::new("damage");
    write_cifar(dir.path());
    let (config, folder) = stopped(dir.path(), &[]);
    let whole = dir.path().join("whole");
    let expected = done(part(&config, &whole, usize::MAX).0).weights_sha256;

    // Cut at every byte of the header and at 100 places of the body; 500 flipped bytes.
    let good = fs::read(folder.checkpoint()).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let body = (0..100).map(|i| header + (good.len() - header) * i / 100);
    let file = dir.path().join("damaged");
    let damaged = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        match Container::read(&file) {
            Err(Error::Format { .. }) => true,
            Ok(read) => read.meta.is_empty(), // No checkpoint for anybody.
            Err(other) => panic!("{other}"),
        }
    };
    assert!(!damaged(&good) && header > 1000 && good.len() > 2 * header);
    for end in (0..header).chain(body) {
        assert!(damaged(&good[..end]), "cut at byte {end}");
    }
    for at in (0..500).map(|i| good.len() * i / 500) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(damaged(&bad), "byte {at} flipped");
    }

    // The run goes on from step 2, tells why, and comes to the same bits.
    let previous = fs::read(folder.previous()).unwrap();
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        bad
    };
    let cases = [
        (Some(Vec::new()), "expected a safetensors file"),
        (Some(good[..header / 2].to_vec()), "expected a safetensors file"),
        (Some(good[..good.len() - 1].to_vec()), "expected a safetensors file"),
        (Some(flipped(good.len() - 9)), "expected contents with sha256"),
        (Some(good.clone().into_iter().map(|b| if b == b'm' { b'n' } else { b }).collect()), ""),
        (None, "checkpoint.safetensors: "),
    ];
    for (number, (bytes, told)) in cases.into_iter().enumerate() {
        let out = RunFolder::new(dir.path().join(format!("run{number}")));
        fs::create_dir(out.root()).unwrap();
        for (from, to) in [
            (folder.config(), out.config()),
            (folder.metrics(), out.metrics()),
            (folder.previous(), out.previous()),
        ] {
            fs::copy(from, to).unwrap();
        }
        if let Some(bytes) = &bytes {
            fs::write(out.checkpoint(), bytes).unwrap();
        }
        let (result, watcher) = part(&config, out.root(), 4);
        assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}");
        let note = watcher.notes.iter().find(|note| note.starts_with("warning: ")).unwrap();
        assert!(note.contains(told) && note.contains("the one before serves"), "{note}");
        assert_eq!(watcher.states.len(), 2, "steps 3 and 4 are taken");
        assert_eq!(out.damaged().exists(), bytes.is_some());
        // Two whole ones again, of the steps 3 and 4.
        assert!(fs::read(out.previous()).unwrap() == good);
        let summary = done(part(&config, out.root(), usize::MAX).0);
        assert_eq!(summary.weights_sha256, expected, "{told}");
    }

    // Both damaged: an error that names the last, and nothing is touched.
    fs::write(folder.checkpoint(), &good[..header]).unwrap();
    fs::write(folder.previous(), &previous[..header]).unwrap();
    let error = part(&config, folder.root(), 4).0.unwrap_err().to_string();
    assert!(error.contains("checkpoint.safetensors: header: expected a safetensors"), "{error}");
    assert!(error.contains("the checkpoint before it does not serve either"), "{error}");
    assert_eq!(fs::read(folder.checkpoint()).unwrap(), &good[..header]);
}

#[test]
fn a_checkpoint_of_an_older_arithmetic_resumes_with_a_note() {
    let dir = TempDir::new("numerics");
    write_cifar(dir.path());
    let (config, folder) = stopped(dir.path(), &[]);
    let good = Container::read(&folder.checkpoint()).unwrap();
    assert_eq!(good.meta["numerics"], crate::kernels::NUMERICS);
    for (version, written) in [(None, "version 1,"), (Some(7), "version 7,")] {
        let mut other = good.clone();
        other.meta.remove("numerics");
        other.meta.extend(version.map(|version: u64| ("numerics".to_string(), version.into())));
        other.write(&folder.checkpoint()).unwrap();
        let (result, watcher) = part(&config, folder.root(), 4);
        assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}");
        let notes: Vec<_> = watcher.notes.iter().filter(|note| note.contains("numerics")).collect();
        assert!(notes.len() == 1 && notes[0].contains(written), "{notes:?}");
        // What is written next is this program's own: nothing more is said.
        let own = Container::read(&folder.checkpoint()).unwrap();
        assert_eq!(own.meta["numerics"], crate::kernels::NUMERICS);
        let (_, watcher) = part(&config, folder.root(), 5);
        assert!(!watcher.notes.iter().any(|note| note.contains("numerics")));
    }
}

#[test]
fn time_between_checkpoints_counts_from_the_last_save() {
    let dir = TempDir::new("time");
    write_cifar(dir.path());
    let config = tiny(dir.path(), &["checkpoint_every=1s"]);
    let out = dir.path().join("out");
    /// Sleeps at the third step, so that one save is due after it.
    struct Sleeper(RunFolder, Vec<String>);
    impl Observer for Sleeper {
        fn step(&mut self, record: &StepRecord) {
            self.1.push(sha256(&self.0.checkpoint()));
            if record.step == 3 {
                std::thread::sleep(std::time::Duration::from_millis(1100));
            }
        }
    }
    let mut sleeper = Sleeper(RunFolder::new(&out), Vec::new());
    run(&config, &out, &mut sleeper, &Stop::default()).unwrap();
    let states = sleeper.1;
    assert_ne!(states[2], states[3], "saved after step 3");
    // On a machine that pauses for a second there may be more saves, never fewer.
    assert_ne!(states[3], states[4], "and at the epoch's end");
}

/// Makes the weights of a layer so large in a run's checkpoint that its products overflow.
fn enlarge(path: &Path, name: &str) {
    let mut checkpoint = Container::read(path).unwrap();
    let tensor = checkpoint.tensors.get_mut(name).unwrap();
    let crate::run::container::Data::F32(values) = &mut tensor.data else { panic!("{name}") };
    values.fill(3e38);
    checkpoint.write(path).unwrap();
}

#[test]
fn an_overflow_is_named_and_kept_and_found_again_on_any_number_of_threads() {
    let dir = TempDir::new("overflow");
    write_cifar(dir.path());
    let (config, folder) = stopped(dir.path(), &[]);
    let good = fs::read(folder.checkpoint()).unwrap();
    for (name, place) in [
        ("head.base.fc1.weight", "matmul at the layer base.fc1 (the regular step)"),
        ("layer2.0.conv1.weight", "conv2d at the layer layer2.0.conv1 (the regular step)"),
    ] {
        fs::write(folder.checkpoint(), &good).unwrap();
        enlarge(&folder.checkpoint(), name);
        let enlarged = fs::read(folder.checkpoint()).unwrap();
        let (result, watcher) = part(&config, folder.root(), usize::MAX);
        let Err(Error::Diverged { step: 4, part }) = result else { panic!("{result:?}") };
        assert_eq!(part, place);
        let told = watcher.notes.join("\n");
        for line in ["  result, [", " infinite, ", "  operand 2, [", "3.000e38", "dimask replay"] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert_eq!(fs::read(folder.checkpoint()).unwrap(), enlarged, "the checkpoint is kept");
        for threads in [1, 3] {
            let dump = Dump::read(&folder.diverged()).unwrap();
            let cause = with_threads(threads, || dump.cause());
            assert_eq!((dump.step, dump.images.len()), (3, 4));
            assert!(cause == dump.told && cause[0] == place, "{cause:?}");
        }
    }
}

#[test]
fn a_gradient_that_overflows_after_the_networks_have_moved_is_found_from_the_last_checkpoint() {
    let dir = TempDir::new("late");
    write_cifar(dir.path());
    // The trial step, at this rate, leaves the numbers; the regular step alone does not.
    let settings = ["checkpoint_every=0", "optimizer.lr=1e30", "mask.trial=contrastive"];
    let config = tiny(dir.path(), &settings);
    let out = dir.path().join("out");
    let (result, watcher) = part(&config, &out, usize::MAX);
    let Err(Error::Diverged { step: 1, part }) = result else { panic!("{result:?}") };
    assert!(part.contains("(the "), "{part}");
    let dump = Dump::read(&RunFolder::new(&out).diverged()).unwrap();
    assert_eq!((dump.step, dump.cause()), (0, dump.told.clone()), "{:?}", watcher.notes);
    let other = Dump::read(&RunFolder::new(&out).checkpoint()).err().unwrap().to_string();
    assert!(other.contains("of a step kept by dimask train"), "{other}");
}
