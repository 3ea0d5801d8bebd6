//! Whole runs: what they leave behind, and that they can be stopped anywhere.

use super::{Bench, Done, program, run, run_command};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Steps of a run of [`Bench::train`]: 40 images in batches of 8, twice.
const STEPS: usize = 10;

/// The rows of the table that a run ends with.
const ROWS: [&str; 3] = ["raw pixels", "untrained encoder", "SimCLR + MetaMask"];

#[test]
fn a_run_leaves_what_it_should_and_can_be_looked_at_again() {
    let bench = Bench::new("whole");
    let done = run(&bench.train("run", &["--threads", "2"])).ok();
    for row in ROWS {
        assert!(done.stdout.contains(row), "no row {row} in\n{}", done.stdout);
    }

    let summary = bench.json("run/summary.json");
    for row in ["", "raw_", "untrained_"] {
        for figure in ["knn5", "knn200", "linear", "probe_1pct"] {
            let value = summary[format!("{row}{figure}")].as_f64();
            assert!(value.is_some_and(|v| (0.0..=100.0).contains(&v)), "{row}{figure}: {value:?}");
        }
    }
    for figure in ["seconds", "images_per_second", "peak_memory_bytes", "seed"] {
        assert!(summary[figure].as_f64().is_some_and(|v| v > 0.0), "{figure}");
    }
    for hash in ["weights_sha256", "config_sha256"] {
        let text = summary[hash].as_str().expect("a hash is text");
        assert!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}: {text}");
    }

    let metrics = bench.read("run/metrics.jsonl");
    let records: Vec<serde_json::Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record is a JSON object"))
        .collect();
    assert_eq!(records.len(), STEPS + 2, "a line a step and a line an epoch");
    for key in ["step", "epoch", "loss", "loss_con", "loss_drr", "lr"] {
        assert!(records[0][key].is_number(), "{key} in {}", records[0]);
    }

    // The settings that the folder keeps are whole: they make the same settings again.
    let kept = bench.text("run/config.toml");
    let again = run(&["config", "--config", &kept]).ok().stdout;
    let copy = bench.text("copy.toml");
    fs::write(&copy, &again).expect("the copy can be written");
    assert_eq!(run(&["config", "--config", &copy]).ok().stdout, again);

    // Judging again finds the same figures.
    let judged = run(&["eval", &bench.text("run")]).ok().stdout;
    let row = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no row {name} in\n{text}")).trim().to_string()
    };
    for name in ROWS {
        assert_eq!(row(&judged, name), row(&done.stdout, name));
    }

    let features = bench.path("features.safetensors");
    run(&["features", &bench.text("run"), "--out", &bench.text("features.safetensors")]).ok();
    let bytes = fs::read(features).expect("the features were written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("they are safetensors");
    assert_eq!(file.tensor("train.features").expect("a tensor").shape(), [40, 256]);
    assert_eq!(file.tensor("test.features").expect("a tensor").shape(), [20, 256]);

    // The encoder's weights have torch's layout: `[O, C, K, K]`.
    let bytes = fs::read(bench.path("run/checkpoint.safetensors")).expect("there is a checkpoint");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("it is safetensors");
    let convolutions: Vec<Vec<usize>> = file
        .tensors()
        .iter()
        .map(|(_, view)| view.shape().to_vec())
        .filter(|shape| shape.len() == 4)
        .collect();
    assert!(convolutions.contains(&vec![32, 3, 3, 3]), "{convolutions:?}");

    // A finished run is finished; its folder is not free; what has gone is not listed.
    let before = bench.read("run/summary.json");
    let again = run(&["train", "--resume", &bench.text("run")]).ok().stdout;
    assert!(again.contains("checkpoint.safetensors"), "{again}");
    fs::remove_file(bench.path("run/checkpoint.safetensors")).expect("it was there");
    let again = run(&["train", "--resume", &bench.text("run")]).ok().stdout;
    assert!(!again.contains("checkpoint.safetensors"), "{again}");
    assert_eq!(bench.read("run/summary.json"), before);
    run(&bench.train("run", &[])).fails(2, &["already has a run", "--resume"]);
}

/// Starts the program without waiting for it.
pub(super) fn start(words: &[String]) -> Child {
    let mut command = program(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program can be started")
}

/// Starts a command whose complaints are read later.
#[cfg(unix)]
pub(super) fn start_command(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the program can be started")
}

/// Waits until the run in the folder has taken `steps` steps.
#[track_caller]
pub(super) fn wait_for_steps(bench: &Bench, out: &str, steps: usize) {
    let begun = Instant::now();
    let metrics = bench.path(&format!("{out}/metrics.jsonl"));
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < steps {
        assert!(begun.elapsed() < Duration::from_secs(120), "no step {steps} in two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the process at once, as a power cut would.
pub(super) fn kill(mut child: Child) {
    child.kill().expect("the process can be ended");
    child.wait().expect("it has ended");
}

/// Leaves the folder of a run that was killed after at least `steps` steps and before its end.
#[track_caller]
pub(super) fn killed_run(bench: &Bench, out: &str, steps: usize, more: &[&str]) {
    // On a busy machine the run may end before the kill comes: then it is tried again.
    for _ in 0..5 {
        let child = start(&bench.train(out, more));
        wait_for_steps(bench, out, steps);
        kill(child);
        if !bench.path(&format!("{out}/summary.json")).exists() {
            return;
        }
        fs::remove_dir_all(bench.path(out)).expect("the folder can be removed");
    }
    panic!("five runs ended before they could be killed");
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits_with_any_number_of_threads() {
    let bench = Bench::new("killed");
    run(&bench.train("whole", &["--threads", "1"])).ok();
    let figures = |run: &str| {
        let summary = bench.json(&format!("{run}/summary.json"));
        let names = ["knn5", "knn200", "linear", "probe_1pct"].into_iter();
        let rows = ["", "raw_", "untrained_"];
        let names: Vec<String> = names.flat_map(|f| rows.map(|row| format!("{row}{f}"))).collect();
        names.into_iter().map(|name| summary[name].clone()).collect::<Vec<_>>()
    };

    // Twice, at different places: before the first epoch's checkpoint, and after one in between.
    let more = ["--threads", "3", "--checkpoint-every", "3"];
    for (out, steps, more) in [("early", 1, &more[..2]), ("later", 5, &more[..])] {
        killed_run(&bench, out, steps, more);
        run(&["train", "--resume", &bench.text(out), "--threads", "2"]).ok();
        assert_eq!(bench.weights(out), bench.weights("whole"), "after a kill at step {steps}");
        assert_eq!(figures(out), figures("whole"), "after a kill at step {steps}");
        let metrics = bench.read(&format!("{out}/metrics.jsonl"));
        assert_eq!(metrics.lines().count(), STEPS + 2, "every step is recorded once");
    }
}

#[test]
fn a_precision_stays_with_its_run() {
    let bench = Bench::new("bf16");
    let f32 = ["--epochs", "1", "--batch-size", "16"];
    let bf16 = [&f32[..], &["--precision", "bf16"]].concat();
    run(&bench.train("f32", &f32)).ok();
    run(&bench.train("whole", &bf16)).ok();
    assert!(bench.read("whole/config.toml").contains("precision = \"bf16\""));
    assert_ne!(bench.weights("whole"), bench.weights("f32"));
    killed_run(&bench, "killed", 1, &bf16);
    run(&["train", "--resume", &bench.text("killed")]).ok();
    assert_eq!(bench.weights("killed"), bench.weights("whole"));

    let mut command = program(&bench.train("plan", &[&bf16[..], &["--dry-run"]].concat()));
    command.env("DIMASK_SIMD", "scalar");
    let Done { stdout, stderr, .. } = run_command(command).ok();
    assert!(stdout.contains("conv4, width 32, in bf16"), "{stdout}");
    assert!(stderr.contains("note: bf16 takes longer than f32 here"), "{stderr}");

    let copy = |name: &str| {
        let [from, to] = ["whole", "f32"].map(|run| bench.path(&format!("{run}/{name}")));
        fs::copy(from, to).expect("the file can be copied");
    };
    ["checkpoint.safetensors", "previous.safetensors"].into_iter().for_each(copy);
    fs::remove_file(bench.path("f32/summary.json")).expect("the file was there");
    let says =
        ["f32/checkpoint.safetensors", "settings", "precision = \"f32\"", "precision = \"bf16\""];
    run(&["train", "--resume", &bench.text("f32")]).fails(1, &says);
}

#[test]
fn a_run_without_a_checkpoint_starts_over() {
    let bench = Bench::new("over");
    run(&bench.train("run", &[])).ok();
    let weights = bench.weights("run");
    for file in ["summary.json", "checkpoint.safetensors", "previous.safetensors"] {
        fs::remove_file(bench.path(&format!("run/{file}"))).expect("the file was there");
    }
    run(&["train", "--resume", &bench.text("run")]).ok();
    assert_eq!(bench.weights("run"), weights);
}

#[test]
fn a_live_lock_is_respected_and_a_dead_one_is_not() {
    let bench = Bench::new("lock");
    let child = start(&bench.train("run", &["--epochs", "200"]));
    wait_for_steps(&bench, "run", 1);
    run(&["train", "--resume", &bench.text("run")]).fails(2, &["run", "still running"]);
    kill(child);
    // The file is still there; its owner is not. What is resumed makes steps beyond the old ones,
    // and is killed too: nobody waits for two hundred epochs.
    assert!(bench.path("run/.lock").exists());
    let steps = bench.read("run/metrics.jsonl").lines().count();
    let child = start(&["train".into(), "--resume".into(), bench.text("run")]);
    wait_for_steps(&bench, "run", steps + 3);
    kill(child);
}

/// Does what a shell is told.
#[cfg(unix)]
fn shell(words: &str) {
    let done = Command::new("sh").args(["-c", words]).status();
    assert!(done.expect("there is a shell").success(), "{words}");
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_a_run_at_once() {
    let bench = Bench::new("twice");
    // Steps so long that the second signal comes before the end of one.
    let slow = ["--encoder", "resnet18", "--batch-size", "10"];
    // On a busy machine the step may end before the second signal comes: then it is tried again.
    for (second, number) in [("INT", 2), ("TERM", 15)] {
        let ended = (0..5).any(|_| {
            let mut child = start(&bench.train("run", &slow));
            wait_for_steps(&bench, "run", 1);
            let state = || fs::read(bench.path("run/checkpoint.safetensors")).expect("the first");
            let before = state();
            shell(&format!("kill -INT {0}; sleep 0.1; kill -{second} {0}", child.id()));
            let code = child.wait().expect("it ends").code();
            let saved = state() != before;
            fs::remove_dir_all(bench.path("run")).expect("the folder can be removed");
            code == Some(128 + number) && !saved
        });
        assert!(ended, "no {second} after an INT has ended the process before it saved");
    }
}

#[cfg(unix)]
#[test]
fn where_no_file_may_grow_the_last_state_is_kept_and_the_run_goes_on_later() {
    let bench = Bench::new("full");
    run(&bench.train("whole", &[])).ok();
    killed_run(&bench, "run", 5, &["--checkpoint-every", "3"]);
    let kept = fs::read(bench.path("run/checkpoint.safetensors")).expect("step 3 was saved");
    let files = || {
        let names = fs::read_dir(bench.path("run")).expect("it is there");
        let mut names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    // The limit is in blocks of 512 or 1,024 bytes, by shell: far from what a checkpoint takes.
    let limited = "ulimit -f 100; exec \"$0\" train --resume \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_dimask"), &bench.text("run")]);
    let done = run_command(command);
    assert!(done.stderr.contains("the last state that was saved is kept"), "{}", done.stderr);
    done.fails(1, &["checkpoint.safetensors", "make room"]);
    assert!(fs::read(bench.path("run/checkpoint.safetensors")).expect("it is there") == kept);
    assert_eq!(files(), before, "nothing half-written is left, no lock and no file more");
    run(&["train", "--resume", &bench.text("run")]).ok();
    assert_eq!(bench.weights("run"), bench.weights("whole"));
}

#[cfg(unix)]
#[test]
fn a_stopped_run_saves_its_state() {
    let bench = Bench::new("stopped");
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let out = if number == 15 { "run" } else { "other" };
        let mut child = start(&bench.train(out, &["--epochs", "200"]));
        wait_for_steps(&bench, out, 2);
        shell(&format!("kill -{signal} {}", child.id()));
        assert_eq!(child.wait().expect("it ends").code(), Some(128 + number));
        assert!(bench.path(&format!("{out}/checkpoint.safetensors")).exists());
    }
    // What is told to resume it is a command of the shell, whatever the folder's name.
    let told = bench.path("told");
    let out = "it's a $run";
    let mut command = program(&bench.train(out, &["--epochs", "200"]));
    command.stdout(Stdio::null()).stderr(fs::File::create(&told).expect("it can be made"));
    let mut child = command.spawn().expect("the program can be started");
    wait_for_steps(&bench, out, 2);
    shell(&format!("kill -INT {}", child.id()));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let told = fs::read_to_string(told).expect("it is text");
    let hint = told.split("resume with: dimask train --resume ").nth(1).expect(&told);
    let said = Command::new("sh").args(["-c", &format!("printf %s {hint}")]).output();
    let said = String::from_utf8(said.expect("there is a shell").stdout).expect("it is text");
    assert_eq!(said.trim_end(), bench.text(out));
    // What has not come to its end is judged all the same, and says so.
    let judged = run(&["eval", &bench.text("run")]).ok();
    assert!(judged.stderr.contains("the run is not finished: this is epoch"), "{}", judged.stderr);
    assert!(judged.stderr.contains("of 200, step"), "{}", judged.stderr);
}

#[test]
fn the_memory_of_a_run_is_told_before() {
    let bench = Bench::new("memory");
    for more in [&["--batch-size", "64"][..], &["--batch-size", "16", "--set", "eval.probes=full"]]
    {
        let usual = ["--images", "512", "--epochs", "1", "--set", "data.test_images=2000"];
        let usual = [&["train", "--data", "fashion-mnist"], &usual[..], more].concat();
        let told = run(&[&usual[..], &["--dry-run"]].concat()).ok().stdout;
        let run_folder = bench.text(more[1]);
        run(&[&usual[..], &["--out", &run_folder, "--set", "eval.linear_epochs=1"]].concat()).ok();
        let summary = bench.json(&format!("{}/summary.json", more[1]));
        let Some(peak) = summary["peak_memory_bytes"].as_f64() else { return };
        let line = told.lines().find(|line| line.starts_with("memory")).expect("it is told");
        let told: f64 = line.split_whitespace().nth(2).and_then(|n| n.parse().ok()).expect(line);
        assert!(line.contains(" MB "), "{line}");
        let ratio = told * 1e6 / peak;
        assert!((0.67..1.5).contains(&ratio), "told {told} MB, took {} MB", peak / 1e6);
    }
}

#[test]
fn a_dry_run_only_tells() {
    let bench = Bench::new("dry");
    let Done { stdout, .. } = run(&bench.train("run", &["--dry-run"])).ok();
    for word in ["parameters", "conv4", "memory"] {
        assert!(stdout.contains(word), "no {word} in\n{stdout}");
    }
    assert!(!bench.path("run").exists());
}

#[test]
fn a_profile_says_where_the_time_went_and_changes_nothing() {
    let bench = Bench::new("profile");
    let short = ["--epochs", "1", "--images", "16"];
    run(&bench.train("plain", &short)).ok();
    let Done { stdout, .. } =
        run(&bench.train("profiled", &[&short[..], &["--profile"]].concat())).ok();
    for word in ["GFLOP/s", "GB/s", "conv2d_weight_grad", "batch_norm_pool_grad", "optimizer"] {
        assert!(stdout.contains(word), "no {word} in\n{stdout}");
    }
    let text = fs::read_to_string(bench.path("profiled/profile.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ops = profile["ops"].as_array().unwrap();
    let op = |name: &str| ops.iter().find(|op| op["op"] == name).unwrap();
    assert!(op("conv2d")["gflop_per_s"].as_f64() > Some(0.0), "{text}");
    assert!(op("conv2d")["gb_per_s"].is_null(), "{text}");
    assert!(op("batch_norm_pool")["calls"].as_u64() > Some(0), "{text}");
    assert!(!bench.path("plain/profile.json").exists());
    assert_eq!(bench.weights("plain"), bench.weights("profiled"));
}

#[test]
fn every_method_and_form_of_the_gradient_runs() {
    let bench = Bench::new("methods");
    let cases: [(&str, &[&str]); 6] = [
        ("finite", &["--meta", "finite-difference"]),
        ("first", &["--meta", "first-order"]),
        ("off", &["--meta", "off"]),
        ("plain", &["--no-mask"]),
        ("barlow", &["--method", "barlow-twins", "--no-mask"]),
        ("resnet", &["--encoder", "resnet18", "--width", "4", "--batch-size", "4"]),
    ];
    for (out, more) in cases {
        let short = ["--epochs", "1", "--images", "16"];
        run(&bench.train(out, &[&short[..], more].concat())).ok();
        let weights = bench.weights(out);
        assert_eq!(weights.len(), 64, "{out}");
    }
    // Without a mask there is one kind of features, with a mask there are two.
    for (out, expected) in [("plain", false), ("off", true)] {
        let file = bench.text(&format!("{out}.safetensors"));
        let said = run(&["features", &bench.text(out), "--out", &file]).ok().stdout;
        assert!(said.contains("test.features"), "{said}");
        assert_eq!(said.contains("test.unmasked"), expected, "{said}");
    }
    // A mask that does not learn and a mask that does are different runs.
    assert_ne!(bench.weights("off"), bench.weights("plain"));
    assert_ne!(bench.weights("finite"), bench.weights("first"));
}
