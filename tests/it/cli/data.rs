//! `dimask data check`, and training on every kind of set, through the binary.

use super::{Bench, Done, program, run, run_command};
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/data");
    folder.join(name).display().to_string()
}

/// `data check` of a path, its sheet in the bench.
fn check(bench: &Bench, data: &str, more: &[&str]) -> Done {
    let sheet = bench.text("sheet.png");
    run(&[&["data", "check", data, "--sheet", &sheet], more].concat())
}

#[test]
fn every_set_is_recognised_in_every_packaging() {
    let bench = Bench::new("recognised");
    for (path, words) in [
        ("cifar-10-batches-bin", &["cifar10 in the folder", "3 images (of 50,000 official"][..]),
        ("cifar-100-binary", &["cifar100 in the folder", "cifar100 train: 100 classes of 0 to 1"]),
        ("stl10_binary.tar.gz", &["stl10 in the archive", "96x96x3", "stl10 unlabelled: 3 images"]),
        ("tiny-imagenet-200.zip", &["tiny-imagenet in the archive", "64x64x3", "dog", "cat"]),
        ("mnist", &["mnist in the folder", "28x28x1", "not the official file"]),
        ("folder", &["folder in the folder", "6 images, 20x24x3", "cats", "dogs"]),
    ] {
        let done = check(&bench, &fixture(path), &[]).ok();
        for word in words {
            assert!(done.stdout.contains(word), "no {word:?} in\n{}", done.stdout);
        }
        let sheet = fs::read(bench.path("sheet.png")).expect("there is a sheet");
        assert!(sheet.starts_with(b"\x89PNG"), "{path}");
    }
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/fashion-mnist");
    let done = check(&bench, own, &[]).ok();
    assert!(done.stdout.contains("60,000 images (all of the official ones)"), "{}", done.stdout);
    assert_eq!(done.stdout.matches("the official file (md5").count(), 4, "{}", done.stdout);
    // By its name alone, as after --data; what is there under that name comes first.
    let by_name = check(&bench, "fashion-mnist", &[]).ok();
    assert_eq!(by_name.stdout, done.stdout);
    check(&bench, "cifar10", &[]).fails(1, &["cifar10", "not found", "DIMASK_DATA"]);
}

/// `data check` without `--sheet`, in a folder.
fn check_in(folder: &Path, data: &str, temporary: &Path) -> Done {
    let mut command = program(&["data", "check", data]);
    command.current_dir(folder).env("TMPDIR", temporary);
    run_command(command)
}

#[test]
fn the_sheet_is_never_among_the_data() {
    let bench = Bench::new("sheet");
    let sets = bench.path("sets");
    let set = sets.join("cifar-10-batches-bin");
    copy(&bench.path("cifar-10-batches-bin"), &set);
    let (elsewhere, temporary) = (bench.path("here"), bench.path("temporary"));
    fs::create_dir_all(&elsewhere).expect("the folder can be made");
    fs::create_dir_all(&temporary).expect("the folder can be made");
    let list = |folder: &Path| fs::read_dir(folder).expect("it can be read").count();

    // The folder that was given is kept clean, not only the official one below it.
    for folder in [&sets, &set] {
        let file = folder.join("x.png").display().to_string();
        for data in [sets.display().to_string(), format!("cifar10:{}", sets.display())] {
            run(&["data", "check", &data, "--sheet", &file]).fails(2, &["--sheet", "among the"]);
        }
        let done = check_in(folder, &sets.display().to_string(), &temporary).ok();
        assert!(done.stdout.contains("(this folder is among the data)"), "{}", done.stdout);
        check_in(folder, ".", &temporary).ok();
        // Where the folder for temporary files is among the data too, there is no place left.
        check_in(folder, "..", folder).fails(2, &["--sheet", "give a file elsewhere"]);
    }
    assert_eq!((list(&sets), list(&set)), (1, 3));
    assert_eq!(list(&temporary), 4, "one a check");
    // Beside the data, the file has its usual name.
    check_in(&elsewhere, "../sets", &temporary).ok();
    assert!(elsewhere.join("contact-sheet.png").exists());
    // An archive is no folder: beside it is fine, in its place is not.
    let archive = elsewhere.join("a.tar.gz");
    fs::copy(fixture("stl10_binary.tar.gz"), &archive).expect("it can be copied");
    check_in(&elsewhere, "a.tar.gz", &temporary).ok();
    let path = archive.display().to_string();
    run(&["data", "check", &path, "--sheet", &path]).fails(2, &["--sheet", "among the data"]);
    // The sets' own folder, found by the variable.
    let mut command = program(&["data", "check", "cifar10"]);
    command.current_dir(&sets).env("DIMASK_DATA", &sets).env("TMPDIR", &temporary);
    assert!(run_command(command).ok().stdout.contains("among the data"));
    assert_eq!(list(&sets), 1);
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_the_work() {
    let bench = Bench::new("unwritable");
    let nowhere = bench.text("nowhere/x.png");
    let done = check(&bench, &fixture("mnist"), &["--size", "20"]).ok();
    assert!(done.stdout.contains("drawn in"));
    let done = run(&["data", "check", &fixture("mnist"), "--sheet", &nowhere]);
    assert_eq!(done.stdout, "", "nothing has been read");
    done.fails(1, &["nowhere/x.png"]);
    // Before a missing run is: nothing else has been looked at.
    run(&["features", &bench.text("no-run"), "--out", &nowhere]).fails(1, &["nowhere/x.png"]);
    let folder = bench.text("cifar-10-batches-bin");
    run(&["features", &bench.text("no-run"), "--out", &folder]).fails(1, &["batches-bin: is a"]);
}

#[test]
fn what_is_wrong_is_named_and_the_code_is_1() {
    let bench = Bench::new("wrong");
    let cifar = bench.path("cifar-10-batches-bin");
    let path = cifar.display().to_string();
    check(&bench, &path, &[]).ok();
    let batch = cifar.join("data_batch_2.bin");
    let bytes = fs::read(&batch).expect("it is there");
    fs::write(&batch, &bytes[..bytes.len() - 1]).expect("it can be written");
    let done = check(&bench, &path, &[]);
    wrong(&done, &["data_batch_2.bin: byte 70679: expected a record of 3073"]);
    done.fails(1, &["batches-bin: 1 fault, ", "cs.toronto.edu"]);
    // Everything that is missing, by its name.
    fs::remove_file(cifar.join("data_batch_1.bin")).expect("it was there");
    let done = check(&bench, &format!("cifar10:{path}"), &[]);
    wrong(&done, &["the file data_batch_1.bin", "data_batch_2.bin"]);
    done.fails(1, &["2 faults", "cs.toronto.edu"]);

    let pets = bench.path("pets");
    copy(Path::new(&fixture("folder")), &pets);
    fs::write(pets.join("cats/b.png"), "no image").expect("it can be written");
    fs::remove_file(pets.join("cats/a.png")).expect("it was there");
    let path = pets.display().to_string();
    let done = check(&bench, &path, &[]);
    wrong(&done, &["cats/b.png"]);
    assert!(!done.stderr.contains("can be had"), "of one's own images: {}", done.stderr);
    done.fails(1, &["pets: 1 fault,"]);
    let train = ["train", "--data", &format!("folder:{path}"), "--out", &bench.text("run")];
    run(&train).fails(1, &["cats/b.png", "--skip-bad or data.skip_bad leaves such images out"]);
    // A path that the shell has left as it is.
    for words in [&["train", "--data", "folder:~/pets"][..], &["data", "check", "~/pets"]] {
        run(words).fails(1, &["~/pets", "write $HOME instead"]);
    }
    assert!(bench.path("sheet.png").exists(), "the others are drawn");
    check(&bench, &bench.text("nowhere"), &[]).fails(1, &["nowhere"]);
    let inside = pets.join("cats/sheet.png").display().to_string();
    run(&["data", "check", &path, "--sheet", &inside]).fails(2, &["--sheet", "among the data"]);
    assert!(!pets.join("cats/sheet.png").exists());
}

/// Fails unless standard output has a line `wrong:` for each of the faults, and standard error does
/// not say them again.
#[track_caller]
fn wrong(done: &Done, faults: &[&str]) {
    let found: Vec<&str> =
        done.stdout.lines().filter_map(|line| line.strip_prefix("wrong: ")).collect();
    assert_eq!(found.len(), faults.len(), "{found:?}");
    for (found, fault) in found.iter().zip(faults) {
        assert!(found.contains(fault), "{found:?} does not say {fault:?}");
        assert!(!done.stderr.contains(found), "told twice: {found}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let path = entry.expect("an entry can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("it can be copied")),
        }
    }
}

/// A folder of 24 images of two classes, eight of each for training.
fn write_pets(folder: &Path) {
    for (split, count) in [("train", 8), ("test", 4)] {
        for class in ["cats", "dogs"] {
            let place = folder.join(split).join(class);
            fs::create_dir_all(&place).expect("the folder can be made");
            for at in 0..count {
                let from = if class == "cats" { "folder/cats/a.png" } else { "folder/dogs/f.jpg" };
                let name = place.join(format!("{at}.{}", &from[from.len() - 3..]));
                fs::copy(fixture(from), name).expect("it can be copied");
            }
        }
    }
}

#[test]
fn a_folder_of_images_is_trained_on_and_judged() {
    let bench = Bench::new("pets");
    let pets: PathBuf = bench.path("pets");
    write_pets(&pets);
    fs::write(pets.join("train/cats/3.png"), "no image").expect("it can be written");
    let data = format!("folder:{}", pets.display());
    let more = ["--data", &data, "--images", "all", "--set", "data.size=16"];
    let train = |out: &str, words: &[&str]| {
        let words = if words.contains(&"--data") { words } else { &[&more[..], words].concat() };
        run(&bench.train(out, words))
    };
    train("refused", &[]).fails(1, &["train/cats/3.png", "a PNG or JPEG image"]);
    let done = train("run", &["--skip-bad", "--augment", "asymmetric"]).ok();
    assert!(done.stderr.contains("left out: ") && done.stderr.contains("3.png"), "{}", done.stderr);
    assert!(done.stdout.contains("SimCLR + MetaMask"));
    // Without a part to judge on, some images must be held out.
    let flat = format!("folder:{}", pets.join("train").display());
    let all = ["--images", "all"];
    let words = [&["--data", &flat, "--skip-bad"][..], &all].concat();
    train("flat", &words).fails(2, &["data.validation", "no test images"]);
    train("held", &[&words[..], &["--validation", "4"]].concat()).ok();
    // Without labels there is nothing to judge by, and features can be had all the same.
    let cats = format!("folder:{}", pets.join("train/dogs").display());
    let done = train("cats", &[&["--data", &cats][..], &all].concat()).ok();
    assert!(done.stderr.contains("without labels"), "{}", done.stderr);
    let features = bench.text("features");
    let done = run(&["features", &bench.text("cats"), "--out", &features]).ok();
    assert!(done.stdout.contains("train.features [8, 256]"), "{}", done.stdout);
}

#[test]
fn what_a_run_leaves_out_is_noted() {
    let bench = Bench::new("noted");
    let pets = bench.path("pets");
    write_pets(&pets);
    fs::rename(pets.join("test"), pets.join("Valid")).expect("it can be renamed");
    fs::create_dir_all(pets.join("train/birds")).expect("the folder can be made");
    fs::write(pets.join("train/birds/a.webp"), "RIFF").expect("it can be written");
    let data = format!("folder:{}", pets.display());
    let words = ["--data", &data, "--images", "all", "--set", "data.size=16"];
    let notes = [
        "the test images are those in Valid/",
        "no images in the folder train/birds: it has only 1 .webp",
        "left out: 1 file of other kinds: 1 .webp",
    ];
    let trained = run(&bench.train("run", &words)).ok().stderr;
    let planned = run(&bench.train("plan", &[&words[..], &["--dry-run"]].concat())).ok().stderr;
    let checked = check(&bench, &data, &["--size", "16"]).ok().stdout;
    for note in notes {
        for told in [&trained, &planned, &checked] {
            assert!(told.contains(note), "no {note:?} in\n{told}");
        }
    }
}

#[test]
fn a_presets_number_of_images_is_lowered_and_one_that_was_asked_for_is_not() {
    let bench = Bench::new("at-most");
    let pets = bench.path("pets");
    write_pets(&pets);
    let data = format!("folder:{}", pets.display());
    let words = ["train", "--preset", "demo", "--data", &data, "--set", "data.size=16"];
    let plan = [&words[..], &["--batch-size", "4", "--dry-run"]].concat();
    let done = run(&plan).ok();
    let note = "data.images is at most 20000: folder train has 16, and all of them are taken";
    assert!(done.stderr.contains(note), "{}", done.stderr);
    assert!(done.stdout.contains("16 of folder"), "{}", done.stdout);
    let file = bench.text("images.toml");
    fs::write(&file, "[data]\nimages = 20000\n").expect("it can be written");
    for asked in [["--images", "20000"], ["--set", "data.images=20000"], ["--config", &file]] {
        run(&[&plan[..], &asked].concat()).fails(2, &["images", "20000 images asked for", "16"]);
    }
    // Uneven classes are taken in proportion where there are enough images.
    fs::remove_dir_all(pets.join("train/dogs")).expect("it was there");
    fs::create_dir_all(pets.join("train/dogs")).expect("the folder can be made");
    fs::copy(fixture("folder/dogs/f.jpg"), pets.join("train/dogs/0.jpg"))
        .expect("it can be copied");
    let fewer = ["--set", "data.images=at most 6"];
    let done = run(&[&plan[..], &fewer].concat()).ok();
    assert!(done.stderr.contains("too uneven") && done.stdout.contains("6 of folder"));
    run(&[&plan[..], &["--images", "6"]].concat())
        .fails(2, &["images", "differing by at most one"]);
}

#[test]
fn unlabelled_images_are_learned_from_and_labelled_ones_judged() {
    let bench = Bench::new("unlabelled");
    let data = format!("stl10:{}", fixture("stl10_binary.tar.gz"));
    let more = ["--data", &data, "--images", "all", "--batch-size", "3", "--epochs", "1"];
    let small = ["--set", "data.size=32", "--set", "data.learn_from=unlabelled"];
    run(&bench.train("run", &[&more[..], &small].concat())).ok();
    let features = bench.text("features");
    let done = run(&["features", &bench.text("run"), "--out", &features]).ok();
    assert!(done.stdout.contains("train.labels [3]"), "{}", done.stdout);
    run(&bench.train("mnist", &["--data", "fashion-mnist", "--set", "data.learn_from=unlabelled"]))
        .fails(2, &["data.learn_from"]);
}

#[test]
fn a_set_larger_than_its_limit_is_learned_from_within_it() {
    let bench = Bench::new("limit");
    let folder = bench.path("stl10_binary");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |name: &str, images: u64| {
        // Without a byte on the disk: what is not written is zero.
        let file = fs::File::create(folder.join(name)).expect("the file can be made");
        file.set_len(images * 27_648).expect("it can be long");
    };
    let count = 20_000;
    write("unlabeled_X.bin", count);
    for part in ["train", "test"] {
        write(&format!("{part}_X.bin"), 20);
        let labels: Vec<u8> = (0..20).map(|i| i % 10 + 1).collect();
        fs::write(folder.join(format!("{part}_y.bin")), labels).expect("it can be written");
    }
    let data = format!("stl10:{}", folder.display());
    let limits = ["--set", "data.memory_mb=16", "--set", "data.learn_from=unlabelled"];
    // Judging and watching a few images only, which take memory of their own.
    let few = ["--batch-size", "4", "--epochs", "1", "--no-mask", "--set", "eval.watch_images=0"];
    let more = [&["--data", &data][..], &few].concat();
    run(&bench.train("run", &[&more[..], &limits].concat())).ok();
    let peak = bench.json("run/summary.json")["peak_memory_bytes"].as_u64();
    if let Some(peak) = peak {
        assert!(peak < count * 27_648 * 2 / 3, "{peak} bytes in memory");
    }
}

#[test]
fn other_images_are_judged_with_the_normalisation_that_was_learned_with() {
    let bench = Bench::new("normalised");
    run(&bench.train("run", &["--set", "augment.normalize=data"])).ok();
    let own = run(&["eval", &bench.text("run")]).ok().stdout;
    // The same test images beside darker training images: their own mean would change the figures
    // of the raw test pixels' features.
    let features = |data: &str, out: &str| {
        let out = bench.text(out);
        run(&["features", &bench.text("run"), "--data", data, "--out", &out]).ok();
        let bytes = fs::read(&out).expect("the features were written");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("they are safetensors");
        file.tensor("test.features").expect("a tensor").data().to_vec()
    };
    let other = bench.path("other/cifar-10-batches-bin");
    copy(&bench.path("cifar-10-batches-bin"), &other);
    for name in ["data_batch_1.bin", "data_batch_2.bin"] {
        let mut bytes = fs::read(other.join(name)).expect("it is there");
        for record in bytes.chunks_exact_mut(3073) {
            record[1..].iter_mut().for_each(|byte| *byte /= 4);
        }
        fs::write(other.join(name), bytes).expect("it can be written");
    }
    let data = |folder: &Path| format!("cifar10:{}", folder.display());
    let own_features = features(&data(bench.folder.path()), "own.features");
    assert_eq!(features(&data(&other), "other.features"), own_features);
    assert!(own.contains("raw pixels"));
}
