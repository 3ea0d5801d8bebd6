//! Archives that other programs make of generated folders are read as the folders themselves: the
//! same classes, counts, pixels and notes.
//!
//! A few folders here; many with
//!     DIMASK_PACKED=300 cargo test --release --test it packed -- --ignored --nocapture

mod folder;

use crate::support::TempDir;
use dimask::data::{Bad, Dataset, Loading, Source, SourceName, Splits};
use folder::Generated;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Packs a folder with Python's own modules; prints the archives that it could not make.
const PACK: &str = include_str!("pack.py");

/// How often each way of packing was compared, and how often its program could not pack a folder
/// (a name is too long for ustar, or no text, for example).
#[derive(Debug, Default)]
struct Counts {
    compared: usize,
    could_not: usize,
}

/// What a reader says of a folder or an archive, but for the words for links that lead nowhere.
#[derive(Debug, PartialEq)]
struct Read {
    /// To learn from, and to judge on.
    parts: Vec<Part>,
    notes: Vec<String>,
    bad: usize,
}

#[derive(Debug, PartialEq)]
struct Part {
    classes: Vec<String>,
    labels: Option<Vec<u32>>,
    size: [usize; 3],
    pixels: Vec<u8>,
}

fn read(path: &Path) -> Result<Read, String> {
    let source = Source { name: SourceName::Folder, path: Some(path.to_path_buf()) };
    let loading = Loading { bad: Bad::Skip, ..Loading::default() };
    let Splits { train, test, notes, unreadable, .. } =
        source.load(&loading).map_err(|error| error.to_string())?;
    let part = |part: &Dataset| {
        let all: Vec<usize> = (0..part.len()).collect();
        Part {
            classes: part.class_names.clone(),
            labels: part.labels.clone(),
            size: part.size(),
            pixels: part.read(&all).expect("they are in memory"),
        }
    };
    let twice = |note: &String| !note.contains("more than once");
    let plain = |note: String| match note.split_once(", which is no file") {
        Some((start, _)) => start.to_string(),
        None => note,
    };
    Ok(Read {
        parts: [Some(&train), test.as_ref()].into_iter().flatten().map(part).collect(),
        notes: notes.into_iter().filter(twice).map(plain).collect(),
        bad: unreadable,
    })
}

/// Runs a program in `folder`; absent if there is no such program.
fn run(folder: &Path, words: &[&str]) -> Option<Output> {
    let mut command = Command::new(words[0]);
    // Names are bytes, whatever language the machine speaks.
    command.args(&words[1..]).current_dir(folder).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command.output().ok()
}

/// Packs the folder `set` below `folder` in every way that is there: (the way, the archive's name,
/// whether it could be made).
fn pack(folder: &Path) -> Vec<(String, String, bool)> {
    let mut archives = Vec::new();
    match run(folder, &["python3", "-c", PACK, "set"]) {
        Some(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            for line in said.lines() {
                let (name, made) = line.split_once(' ').expect("a name and a word");
                archives.push((format!("python {name}"), name.to_string(), made == "made"));
            }
        }
        None => println!("NOT CHECKED: archives of Python; this machine has no python3"),
    }
    let systems: [(&str, &[&str]); 6] = [
        ("system gnu.tar", &["tar", "--format=gnu", "-cf", "gnu.tar", "set"]),
        ("system pax.tar", &["tar", "--format=pax", "-cf", "pax.tar", "set"]),
        ("system ustar.tar", &["tar", "--format=ustar", "-cf", "ustar.tar", "set"]),
        ("system flat.tar.gz", &["tar", "-czf", "flat.tar.gz", "-C", "set", "."]),
        ("system links.zip", &["zip", "-qry", "links.zip", "set"]),
        ("system files.zip", &["zip", "-qr", "files.zip", "set"]),
    ];
    for (way, words) in systems {
        match run(folder, words) {
            Some(done) => {
                let name = way.trim_start_matches("system ").to_string();
                archives.push((way.to_string(), name, done.status.success()));
            }
            None => println!("NOT CHECKED: {way}; this machine has no {}", words[0]),
        }
    }
    archives
}

/// Compares generated folders with their archives.
fn compare(folders: std::ops::Range<u64>) -> BTreeMap<String, Counts> {
    let (began, count) = (Instant::now(), folders.end - folders.start);
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let (mut images, mut met) = (0, BTreeMap::new());
    for seed in folders {
        let dir = TempDir::new("packed");
        let generated = Generated::new(seed, &dir.path().join("set"));
        generated.features.iter().for_each(|what| *met.entry(*what).or_insert(0) += 1);
        let expected = read(&dir.path().join("set"));
        let expected = expected.unwrap_or_else(|e| panic!("folder {seed}: {e}\n{generated:?}"));
        let pixels: usize = expected.parts.iter().map(|part| part.pixels.len()).sum();
        images += pixels / generated.bytes();
        for (way, archive, made) in pack(dir.path()) {
            let counts = counts.entry(way.clone()).or_default();
            // Where `zip` follows links, dead ones are not in the archive.
            let dead = generated.features.iter().any(|what| what.starts_with("dead"));
            if !made || dead && way.ends_with("files.zip") {
                counts.could_not += 1;
                continue;
            }
            let found = read(&dir.path().join(&archive));
            let same = found.as_ref() == Ok(&expected);
            assert!(same, "folder {seed}, {way}:\n{found:#?}\n{expected:#?}\n{generated:#?}");
            counts.compared += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} folders, {images} images, {seconds:.1} s\n{counts:#?}\n{met:#?}");
    assert!(counts.values().all(|counts| counts.compared > 0), "{counts:?}");
    counts
}

#[test]
fn archives_of_a_few_folders_are_read_as_the_folders_are() {
    compare(0..8);
}

#[test]
#[ignore = "minutes: DIMASK_PACKED says how many"]
fn archives_of_many_folders_are_read_as_the_folders_are() {
    let count = std::env::var("DIMASK_PACKED").map_or(300, |text| text.parse().expect("a number"));
    compare(0..count);
}
