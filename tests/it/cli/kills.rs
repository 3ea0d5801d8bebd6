//! Runs that are killed again and again, at random moments, and come to the bits of one that was
//! left alone.
//!
//! A few kills here; many with
//!     DIMASK_KILLS=200 cargo test --release --test it kills -- --ignored --nocapture

use super::{Bench, TINY, program, run};
use crate::support::Numbers;
use dimask::run::container::Container;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Epochs of a run, and steps of an epoch.
const EPOCHS: usize = 4;
const STEPS: usize = 6;

/// The methods that runs have in turn, with what they need: three kinds of state between steps.
const METHODS: [&[&str]; 3] = [
    &["--method", "simclr"],
    &["--method", "byol", "--set", "model.predictor_head=[8, 8]"],
    &["--method", "nnclr", "--set", "model.predictor_head=[8, 8]", "--set", "loss.queue=12"],
];

/// The words of a run of 24 images that saves its state after each of its steps.
fn words(bench: &Bench, out: &str, method: &[&str]) -> Vec<String> {
    let epochs = EPOCHS.to_string();
    let own = ["--images", "24", "--batch-size", "4", "--epochs", &epochs];
    let kept = ["--checkpoint-every", "1", "--val-split", "8", "--set", "eval.watch_images=16"];
    bench.train(out, &[&own[..], &kept, &TINY, method].concat())
}

/// All that a finished run leaves, without what only clocks and the system decide.
#[derive(PartialEq)]
struct Left {
    states: Vec<Vec<u8>>,
    records: Vec<BTreeMap<String, serde_json::Value>>,
    summary: BTreeMap<String, serde_json::Value>,
}

fn left(folder: &Path) -> Left {
    const CLOCKS: [&str; 5] =
        ["elapsed", "seconds", "images_per_second", "judging_seconds", "peak_memory_bytes"];
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let timeless = |line: &[u8]| {
        let mut record: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(line).expect("a record is a JSON object");
        record.retain(|key, _| !CLOCKS.contains(&key.as_str()));
        record
    };
    let states =
        ["checkpoint", "previous", "best"].map(|name| read(&format!("{name}.safetensors")));
    let metrics = read("metrics.jsonl");
    let lines = metrics.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Left {
        states: states.to_vec(),
        records: lines.map(timeless).collect(),
        summary: timeless(&read("summary.json")),
    }
}

/// When a process is killed, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// While it starts: reads settings and images, takes the lock, reads or writes a first state.
    Start,
    /// At any time.
    Anywhere,
    /// When a file is being written that is to take the place of a checkpoint.
    Writing,
    /// When all steps are done.
    Judging,
}

const MOMENTS: [Moment; 5] =
    [Moment::Start, Moment::Writing, Moment::Anywhere, Moment::Writing, Moment::Judging];

/// The files that are to take the place of others and have something in them, by name and time.
fn unfinished(folder: &Path) -> Vec<(OsString, SystemTime)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter(|file| file.path().extension() == Some("tmp".as_ref()));
    let known = files.filter_map(|file| Some((file.file_name(), file.metadata().ok()?)));
    let known = known.filter(|(_, file)| file.len() > 0);
    known.filter_map(|(name, file)| Some((name, file.modified().ok()?))).collect()
}

/// Whether there are such files besides those that an earlier kill has left.
fn is_writing(folder: &Path, earlier: &[(OsString, SystemTime)]) -> bool {
    unfinished(folder).iter().any(|file| !earlier.contains(file))
}

fn records(folder: &Path) -> usize {
    fs::read(folder.join("metrics.jsonl"))
        .map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// The lines of a whole run's records: a step's and an epoch's.
const RECORDS: usize = EPOCHS * (STEPS + 1);

impl Moment {
    /// Waits for the moment, or for the end of the process. Moments are counted in what the run has
    /// recorded, so that they are as random on a machine that is busy.
    fn wait(self, child: &mut Child, folder: &Path, numbers: &mut Numbers) {
        let (before, earlier) = (records(folder), unfinished(folder));
        let after = before + numbers.below(RECORDS.saturating_sub(before) + 1);
        let mut ended = || child.try_wait().expect("a child can be asked").is_some();
        let mut until = |there: &dyn Fn() -> bool| while !there() && !ended() {};
        match self {
            Moment::Start => {}
            Moment::Judging => until(&|| records(folder) == RECORDS),
            Moment::Anywhere | Moment::Writing => until(&|| records(folder) >= after),
        }
        match self {
            Moment::Writing => until(&|| is_writing(folder, &earlier)),
            _ => std::thread::sleep(Duration::from_secs_f64(numbers.uniform(0.0, 0.03))),
        }
    }
}

/// Where kills have hit.
#[derive(Debug, Default)]
struct Hits {
    kills: usize,
    /// A folder without settings: the run had not begun to exist.
    unborn: usize,
    /// Before the process had taken a step.
    starting: usize,
    /// Half a file was left.
    writing: usize,
    /// After the last step.
    judging: usize,
    /// Runs that came to their end after at least one kill.
    runs: usize,
}

/// The files of a killed run: what is there can be read, and what has been there is.
fn check(folder: &Path, had_state: &mut bool) {
    for name in ["checkpoint.safetensors", "previous.safetensors", "best.safetensors"] {
        let path = folder.join(name);
        if !path.exists() {
            assert!(name != "checkpoint.safetensors" || !*had_state, "the last state is gone");
            continue;
        }
        let read = Container::read(&path).unwrap_or_else(|error| panic!("after a kill: {error}"));
        assert!(read.meta.contains_key("step"), "{name} does not say its step");
        *had_state |= name == "checkpoint.safetensors";
    }
}

/// Kills runs, as many times as is said, and lets each come to its end in between.
fn kill(bench: &Bench, kills: usize) -> Hits {
    let (mut hits, mut numbers) = (Hits::default(), Numbers::new(9));
    let mut moments = MOMENTS.into_iter().cycle();
    let methods = &METHODS[..METHODS.len().min(kills.div_ceil(20))];
    let alone = methods.iter().enumerate().map(|(number, method)| {
        let out = format!("alone{number}");
        run(&words(bench, &out, method)).ok();
        left(&bench.path(&out))
    });
    let alone: Vec<Left> = alone.collect();
    assert!(alone.iter().all(|left| left.records.len() == RECORDS), "a line a step and an epoch");
    for number in 0.. {
        let (method, expected) = (methods[number % alone.len()], &alone[number % alone.len()]);
        let out = format!("killed{number}");
        let folder = bench.path(&out);
        let (mut had_state, mut here) = (false, 0);
        loop {
            let mut arguments = match folder.join("config.toml").exists() {
                true => vec!["train".to_string(), "--resume".into(), bench.text(&out)],
                false => words(bench, &out, method),
            };
            arguments.extend(["--threads".into(), (1 + numbers.below(3)).to_string()]);
            let told = bench.path("told");
            let mut command = program(&arguments);
            command.stdout(Stdio::null()).stderr(File::create(&told).expect("it can be made"));
            let (before, earlier) = (records(&folder), unfinished(&folder));
            let mut child = command.spawn().expect("the program can be started");
            // Every other run is killed as soon as it begins, too. What only has to be judged is
            // left alone but for the moment that is for it, or most kills would come there.
            let begins = here == 0 && number % 2 == 1;
            let moment = if begins { Some(Moment::Start) } else { moments.next() };
            let moment = moment.expect("it is a cycle");
            let judged_next = before == RECORDS && moment != Moment::Judging;
            if hits.kills < kills && !judged_next {
                moment.wait(&mut child, &folder, &mut numbers);
                child.kill().expect("the process can be ended, or has ended");
            }
            let status = child.wait().expect("it has ended");
            let told = fs::read_to_string(told).expect("it is text");
            for word in ["serve", "damage", "panicked", "error:"] {
                assert!(!told.contains(word), "after {here} kills of {out}:\n{told}");
            }
            if status.signal() != Some(9) {
                assert!(status.success(), "{status} after {here} kills of {out}:\n{told}");
                break;
            }
            (hits.kills, here) = (hits.kills + 1, here + 1);
            check(&folder, &mut had_state);
            hits.unborn += usize::from(!folder.join("config.toml").exists());
            hits.writing += usize::from(is_writing(&folder, &earlier));
            match records(&folder) {
                now if now == RECORDS => hits.judging += 1,
                now => hits.starting += usize::from(now <= before),
            }
        }
        assert!(left(&folder) == *expected, "{out}: not the bits of a run that was left alone");
        hits.runs += usize::from(here > 0);
        fs::remove_dir_all(&folder).expect("the folder can be removed");
        if hits.kills == kills {
            return hits;
        }
    }
    unreachable!("the loop ends when the kills are done")
}

#[test]
fn a_few_kills_at_random_moments_change_nothing() {
    let hits = kill(&Bench::new("kills"), 5);
    println!("{hits:?}");
    assert!(hits.kills == 5 && hits.runs > 0, "{hits:?}");
}

#[test]
#[ignore = "minutes: DIMASK_KILLS says how many"]
fn many_kills_at_random_moments_change_nothing() {
    let kills = std::env::var("DIMASK_KILLS").map_or(200, |text| text.parse().expect("a number"));
    let began = Instant::now();
    let hits = kill(&Bench::new("kills"), kills);
    println!("{hits:?} in {:.0} s", began.elapsed().as_secs_f64());
    // Each kind of moment was met, or the campaign has not shown what it is for.
    let met = [hits.unborn, hits.starting, hits.writing, hits.judging, hits.runs];
    assert!(kills < 100 || !met.contains(&0), "{hits:?}");
}
