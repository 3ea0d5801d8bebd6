//! The program on several processes: what a user of `mpirun` meets.

use crate::support::TempDir;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `mpirun` for programs of this machine, more of them than it has processors.
fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none"]).stdin(Stdio::null());
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        command.env(name, "1");
    }
    command.env("DIMASK_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The words of a short run into `out`, on the images that come along.
fn train(out: &Path, epochs: &str, more: &[&str]) -> Vec<String> {
    let usual = [
        "train",
        "--preset",
        "demo",
        "--images",
        "64",
        "--batch-size",
        "16",
        "--epochs",
        epochs,
        "--set",
        "eval.linear_epochs=1",
        "--set",
        "eval.baselines=false",
        "--set",
        "data.test_images=200",
        "--set",
        "checkpoint_every=1",
    ];
    let out = out.to_str().expect("test paths are text");
    let words = usual.iter().copied().chain(["--out", out]).chain(more.iter().copied());
    words.map(String::from).collect()
}

fn on(size: &str, words: &[String]) -> Command {
    let mut command = mpirun();
    command.args(["-n", size, env!("CARGO_BIN_EXE_dimask")]).args(words);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}\n{err}")
}

#[track_caller]
fn ok(mut command: Command) -> String {
    let output = command.output().expect("mpirun can be started");
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn resume(out: &Path) -> Vec<String> {
    let out = out.to_str().expect("test paths are text");
    ["train", "--resume", out].map(String::from).to_vec()
}

fn steps(out: &Path) -> usize {
    let records = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    records.lines().filter(|line| line.contains("\"grad_norm\"")).count()
}

#[test]
fn one_model_is_trained_by_all_and_written_by_the_first() {
    let folder = TempDir::new("mpi");
    let out = folder.path().join("two");
    let said = ok(on("2", &train(&out, "2", &[])));
    assert!(said.contains("each of 2 ranks received"), "{said}");
    assert_eq!(said.matches("trained in").count(), 1, "the table is printed once:\n{said}");
    assert_eq!(steps(&out), 8);
    // The same on as many ranks, to the bit.
    let again = folder.path().join("again");
    ok(on("2", &train(&again, "2", &[])));
    let weights = |out: &Path| {
        let text = std::fs::read_to_string(out.join("summary.json")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        summary["weights_sha256"].as_str().expect("a hash").to_string()
    };
    assert_eq!(weights(&out), weights(&again));
}

/// A process of `mpirun`'s that is the given rank.
fn process_of_rank(parent: &Child, rank: &str) -> Option<u32> {
    let mut found = None;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let path: PathBuf = entry.path();
        let read = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let ours = status.contains(&format!("PPid:\t{}\n", parent.id()));
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}\0");
        let environment = read("environ");
        if ours && environment.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            found = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        }
    }
    found
}

#[test]
fn a_rank_that_is_killed_ends_the_run_and_another_number_goes_on() {
    let folder = TempDir::new("mpi-killed");
    let out = folder.path().join("run");
    let mut running = on("2", &train(&out, "40", &[])).spawn().expect("mpirun starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while steps(&out) < 3 {
        assert!(Instant::now() < deadline, "no step in two minutes");
        assert!(running.try_wait().expect("a child").is_none(), "it has ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    let victim = process_of_rank(&running, "1").expect("rank 1 runs");
    let killed = Command::new("kill").args(["-9", &victim.to_string()]).status();
    assert!(killed.expect("kill can be started").success());
    let output = running.wait_with_output().expect("mpirun ends");
    let said = text(&output);
    assert!(!output.status.success() && said.contains("rank 1"), "{said}");
    let done = steps(&out);

    // The last checkpoint serves, on four ranks; a signal ends all of them with their state saved.
    let mut running = on("4", &resume(&out)).spawn().expect("mpirun starts");
    while steps(&out) < done + 3 {
        assert!(Instant::now() < deadline, "no step in two minutes");
        assert!(running.try_wait().expect("a child").is_none(), "it has ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = Command::new("kill").args(["-15", &running.id().to_string()]).status();
    assert!(ended.expect("kill can be started").success());
    let output = running.wait_with_output().expect("mpirun ends");
    assert!(!output.status.success(), "{}", text(&output));
    // And on one, without a launcher.
    let one = Command::new(env!("CARGO_BIN_EXE_dimask"))
        .args(resume(&out))
        .arg("--dry-run")
        .output()
        .expect("the program can be started");
    assert!(one.status.success(), "{}", text(&one));
}

#[test]
fn ranks_of_different_settings_are_refused_with_one_complaint() {
    let folder = TempDir::new("mpi-refused");
    let out = folder.path().join("run");
    let mut command = mpirun();
    let program = env!("CARGO_BIN_EXE_dimask");
    command.args(["-n", "1", program]).args(train(&out, "2", &[]));
    command.args([":", "-n", "1", program]).args(train(&out, "2", &["--seed", "9"]));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("mpirun starts");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("rank 1 has seed = 9, rank 0 has seed = 1"), "{said}");
    assert!(!out.exists());

    let output = on("2", &["methods".to_string()]).output().expect("mpirun starts");
    let said = text(&output);
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("only train takes several"), "{said}");
}
