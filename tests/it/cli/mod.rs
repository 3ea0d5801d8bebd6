//! The program as its users meet it: through the binary, on folders of files.

mod data;
mod errors;
mod experiments;
mod kept;
#[cfg(unix)]
mod kills;
mod pictures;
#[cfg(unix)]
mod read_only;
mod runs;

use crate::support::{Numbers, TempDir};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many training images [`write_cifar10`] makes.
const IMAGES: usize = 48;

/// What the program did.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    /// Fails unless the program succeeded.
    #[track_caller]
    fn ok(self) -> Done {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the program ended with `code` and one line of complaint that says all `parts`.
    #[track_caller]
    fn fails(self, code: i32, parts: &[&str]) {
        let Done { stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{stderr}", self.stdout);
        assert!(!stderr.contains("panicked"), "a panic:\n{stderr}");
        let complaints: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        let [complaint] = complaints[..] else {
            panic!("{} complaints instead of one:\n{stderr}", complaints.len());
        };
        for part in parts {
            assert!(complaint.contains(part), "{complaint:?} does not say {part:?}");
        }
    }
}

/// The program with these arguments, in a folder of its own choice, without inherited settings.
fn program<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dimask"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("DIMASK_DATA").env_remove("DIMASK_THREADS").stdin(Stdio::null());
    command
}

fn run_command(mut command: Command) -> Done {
    let output = command.output().expect("the program can be started");
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("standard output is text"),
        stderr: String::from_utf8(output.stderr).expect("standard error is text"),
    }
}

/// Runs the program to its end.
fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Done {
    run_command(program(arguments))
}

/// A folder in CIFAR-10's binary layout: coloured noise, one tint a class.
fn write_cifar10(folder: &Path) {
    let mut numbers = Numbers::new(20);
    let mut write = |name: &str, count: usize| {
        let mut bytes = Vec::new();
        for i in 0..count {
            let class = i % 10;
            bytes.push(class as u8);
            for channel in 0..3 {
                let tint = 40.0 + 15.0 * ((class * (channel + 1)) % 10) as f64;
                bytes.extend((0..1024).map(|_| numbers.uniform(tint, tint + 60.0) as u8));
            }
        }
        fs::write(folder.join(name), bytes).expect("the images can be written");
    };
    fs::create_dir_all(folder).expect("the folder can be made");
    write("data_batch_1.bin", IMAGES / 2);
    write("data_batch_2.bin", IMAGES - IMAGES / 2);
    write("test_batch.bin", 20);
}

/// What makes steps of [`Bench::train`] take milliseconds.
#[cfg(unix)]
const TINY: [&str; 8] = [
    "--set",
    "model.encoder=resnet18",
    "--set",
    "model.width=2",
    "--set",
    "data.size=8",
    "--set",
    "optimizer.lr=0.001",
];

/// A folder with images, and the arguments of a run of seconds on them.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let folder = TempDir::new(name);
        write_cifar10(&folder.path().join("cifar-10-batches-bin"));
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("test paths are text").to_string()
    }

    /// The words of `train` into the folder `out`; what `more` says goes before the usual.
    fn train(&self, out: &str, more: &[&str]) -> Vec<String> {
        let data = format!("cifar10:{}", self.folder.path().display());
        let out = self.text(out);
        let usual = [
            ("--preset", "small"),
            ("--data", &data),
            ("--out", &out),
            ("--images", "40"),
            ("--batch-size", "8"),
            ("--epochs", "2"),
            ("--set", "model.contrastive_head=[16, 8]"),
            ("--set", "model.redundancy_head=[16, 16]"),
            ("--set", "eval.linear_epochs=2"),
        ];
        let idle = |value: &str| more.contains(&"--no-mask") && value.contains("redundancy");
        let usual = usual.iter().filter(|(flag, value)| match *flag {
            "--set" => !idle(value),
            flag => !more.contains(&flag),
        });
        let words = ["train"].into_iter().chain(usual.flat_map(|(flag, value)| [*flag, value]));
        words.chain(more.iter().copied()).map(String::from).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn weights(&self, run: &str) -> String {
        let summary = self.json(&format!("{run}/summary.json"));
        summary["weights_sha256"].as_str().expect("the summary has a hash").to_string()
    }
}
