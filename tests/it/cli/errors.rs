//! What the world and the user can get wrong: one clear line, the right exit code, no panic.

use super::{Bench, program, run, run_command};
use std::fs;
use std::path::Path;

use dimask::kernels::dispatch::Level;

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the file can be read");
    change(&mut bytes);
    fs::write(path, bytes).expect("the file can be written");
}

#[test]
fn missing_data_is_named() {
    let bench = Bench::new("missing");
    let nowhere = bench.text("nowhere");
    let data = format!("cifar10:{nowhere}");
    run(&["train", "--data", &data, "--out", &bench.text("run")])
        .fails(1, &["cifar10", "not found", &nowhere, "data_batch_1.bin"]);
    assert!(!bench.path("run").exists(), "a run that cannot begin leaves no folder");

    // Looked for in the usual places: all of them are told.
    let mut command = program(&["train", "--data", "cifar10", "--out", &bench.text("run")]);
    command.env("DIMASK_DATA", &nowhere);
    run_command(command).fails(1, &[&nowhere, "DIMASK_DATA", "cifar10:PATH"]);

    fs::remove_file(bench.path("cifar-10-batches-bin/test_batch.bin")).expect("it was there");
    run(&bench.train("run", &[])).fails(1, &["cifar-10-batches-bin", "test_batch.bin"]);
}

#[test]
fn truncated_data_is_named_with_its_place() {
    let bench = Bench::new("truncated");
    edit(&bench.path("cifar-10-batches-bin/data_batch_2.bin"), |bytes| {
        bytes.truncate(2 * 3073 + 100);
    });
    let place = format!("byte {}", 2 * 3073);
    run(&bench.train("run", &[])).fails(1, &["data_batch_2.bin", &place, "3073", "after 100"]);
}

#[test]
fn foreign_data_is_named_with_its_place() {
    let bench = Bench::new("foreign");
    edit(&bench.path("cifar-10-batches-bin/data_batch_1.bin"), |bytes| bytes[3073] = 77);
    let train = || run(&bench.train("run", &[]));
    train().fails(1, &["data_batch_1.bin", "byte 3073", "label below 10", "77"]);
    fs::write(bench.path("cifar-10-batches-bin/data_batch_1.bin"), "").expect("it can be written");
    train().fails(1, &["data_batch_1.bin", "the end of the file"]);
    fs::write(bench.path("cifar-10-batches-bin/data_batch_1.bin"), [0xff; 5000]).expect("it can");
    train().fails(1, &["data_batch_1.bin", "255"]);
}

/// An IDX file: magic number, lengths, bytes.
fn idx(magic: u32, lengths: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut all = magic.to_be_bytes().to_vec();
    all.extend(lengths.iter().flat_map(|length| length.to_be_bytes()));
    all.extend(bytes);
    all
}

#[test]
fn broken_idx_files_are_named_with_their_place() {
    let bench = Bench::new("idx");
    let folder = bench.path("fashion-mnist");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(folder.join(name), bytes).expect("the file can be written");
    };
    let images = |count: u32| idx(0x803, &[count, 28, 28], &vec![9; count as usize * 784]);
    let labels = |count: u32| idx(0x801, &[count], &vec![3; count as usize]);
    let whole = || {
        write("train-images-idx3-ubyte", images(24));
        write("train-labels-idx1-ubyte", labels(24));
        write("t10k-images-idx3-ubyte", images(8));
        write("t10k-labels-idx1-ubyte", labels(8));
    };
    let data = format!("fashion-mnist:{}", bench.folder.path().display());
    let train = |parts: &[&str]| {
        let out = bench.text("run");
        let words =
            ["train", "--data", &data, "--out", &out, "--images", "all", "--batch-size", "8"];
        run(&words).fails(1, parts);
    };
    whole();
    write("train-images-idx3-ubyte", idx(0x1234, &[24, 28, 28], &[9; 24 * 784]));
    train(&["train-images-idx3-ubyte", "byte 0", "magic"]);
    whole();
    write("train-images-idx3-ubyte", images(24)[..5000].to_vec());
    train(&["train-images-idx3-ubyte", "byte"]);
    whole();
    write("train-labels-idx1-ubyte", labels(23));
    train(&["train-labels-idx1-ubyte", "23", "24"]);
    whole();
    fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).expect("it was there");
    train(&["fashion-mnist", "t10k-labels-idx1-ubyte"]);
    whole();
    fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).expect("it was there");
    write("t10k-labels-idx1-ubyte.gz", b"this is no gzip file".to_vec());
    train(&["t10k-labels-idx1-ubyte.gz"]);
}

#[test]
fn a_checkpoint_of_another_architecture_is_refused() {
    let bench = Bench::new("architecture");
    let short = ["--epochs", "1", "--images", "16"];
    run(&bench.train("conv4", &short)).ok();
    let checkpoint = bench.text("conv4/checkpoint.safetensors");
    let resnet = ["--encoder", "resnet18", "--width", "4", "--batch-size", "4"];

    // As first weights of another encoder.
    let init = [&short[..], &resnet, &["--init", &checkpoint]].concat();
    run(&bench.train("from", &init)).fails(1, &["checkpoint.safetensors", "expected", "found"]);
    // As the state of another run.
    run(&bench.train("resnet", &[&short[..], &resnet].concat())).ok();
    fs::copy(&checkpoint, bench.path("resnet/checkpoint.safetensors")).expect("it can be copied");
    fs::remove_file(bench.path("resnet/summary.json")).expect("it was there");
    run(&["train", "--resume", &bench.text("resnet")]).fails(1, &["checkpoint.safetensors"]);
    run(&["eval", &bench.text("resnet")]).fails(1, &["checkpoint.safetensors"]);

    // Damaged, truncated, and not safetensors at all.
    let path = bench.path("conv4/checkpoint.safetensors");
    let eval = || run(&["eval", &bench.text("conv4")]);
    eval().ok();
    edit(&path, |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let told = eval().ok().stderr;
    for part in ["checkpoint.safetensors", "damage", "the one before serves", "not finished"] {
        assert!(told.contains(part), "{told}");
    }
    fs::remove_file(bench.path("conv4/previous.safetensors")).expect("it was there");
    eval().fails(1, &["checkpoint.safetensors", "damage"]);
    edit(&path, |bytes| bytes.truncate(1000));
    eval().fails(1, &["checkpoint.safetensors", "safetensors file"]);
    fs::write(&path, "no tensors").expect("it can be written");
    eval().fails(1, &["checkpoint.safetensors", "safetensors file"]);
    fs::remove_file(&path).expect("it was there");
    eval().fails(1, &["checkpoint.safetensors"]);
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let bench = Bench::new("impossible");
    let cases: [(&[&str], &str); 18] = [
        (&["--epochs", "0"], "epochs"),
        (&["--epochs", "many"], "--epochs"),
        (&["--batch-size", "1"], "batch_size"),
        (&["--batch-size", "41"], "batch_size"),
        (&["--images", "49"], "images"),
        (&["--images", "-3"], "--images"),
        (&["--lr", "-0.1"], "optimizer.lr"),
        (&["--lr", "nan"], "optimizer.lr"),
        (&["--lr", "1e39"], "optimizer.lr"),
        (&["--temperature", "0"], "loss.temperature"),
        (&["--method", "mocov3"], "--method"),
        (&["--method", "byol", "--set", "model.predictor_head=[]"], "model.predictor_head"),
        (&["--trial-step", "twice"], "--trial-step"),
        (&["--bt-mode", "three-heads"], "--bt-mode"),
        (&["--meta", "sometimes"], "--meta"),
        (&["--encoder", "vgg"], "--encoder"),
        (&["--width", "16"], "model.width"),
        (&["--set", "data.size=15"], "data.size"),
    ];
    for (words, name) in cases {
        run(&bench.train("run", words)).fails(2, &[name]);
        assert!(!bench.path("run").exists(), "{words:?} leaves no folder");
    }
    run(&["train", "--preset", "huge"]).fails(2, &["huge", "demo", "small", "official"]);
    run(&["train", "--data", "imagenet"]).fails(2, &["imagenet"]);
    run(&["train", "--threads", "0"]).fails(2, &["--threads", "0"]);
    let mut command = program(&["config"]);
    command.env("DIMASK_THREADS", "several");
    run_command(command).fails(2, &["DIMASK_THREADS", "several"]);
    let mut command = program(&["config"]);
    command.env("DIMASK_CONV", "fft");
    run_command(command).fails(2, &["DIMASK_CONV", "fft", "direct", "winograd"]);
}

#[test]
fn levels_are_told_and_one_that_is_missing_is_refused() {
    let version = run(&["--version"]).ok().stdout;
    let (built, best) = version
        .strip_prefix(concat!("dimask ", env!("CARGO_PKG_VERSION"), " (levels: "))
        .and_then(|rest| rest.strip_suffix(")\n"))
        .and_then(|rest| rest.split_once("; this processor: "))
        .unwrap_or_else(|| panic!("{version}"));
    let built: Vec<&str> = built.split(", ").collect();
    for level in Level::ALL {
        assert_eq!(built.contains(&level.name()), level.is_built(), "{version}");
        assert!(level.is_built() || !level.is_available(), "{version}");
    }
    assert_eq!(best, Level::best().name());

    let refused = |name: &str, says: &str| {
        let mut command = program(&["config"]);
        command.env("DIMASK_SIMD", name);
        run_command(command).fails(2, &["DIMASK_SIMD", name, says, "available: scalar"]);
    };
    refused("sse9", "no such level");
    for level in Level::ALL {
        if let Some(obstacle) = level.obstacle() {
            refused(level.name(), obstacle);
        }
    }
}

#[test]
fn settings_without_effect_are_refused_where_they_were_asked_for() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--bt-mode", "one-head"], &["--bt-mode: has no effect", "barlow-twins"]),
        (&["--meta", "regular", "--trial-step", "joint"], &["--trial-step: ", "trial step"]),
        (&["--no-mask", "--meta", "exact"], &["--meta: has no effect", "no mask"]),
        (&["--meta", "off", "--set", "mask.unroll=1"], &["--set mask.unroll: has no effect"]),
        (&["--meta", "off", "--set", "mask.unroll=2"], &["mask.unroll: is 2"]),
        (&["--set", "mask.unroll=17"], &["mask.unroll: is 17", "16"]),
        (&["--method", "byol", "--temperature", "0.5"], &["--temperature", "no temperature"]),
    ];
    for (words, says) in cases {
        run(&[&["config"], words].concat()).fails(2, says);
    }
    run(&["experiment", "table", "--methods", "simclr,byol", "--bt-mode", "one-head"])
        .fails(2, &["--bt-mode: has no effect"]);

    // A file may hold more than a run looks at, as a run's own does; it is only told.
    let bench = Bench::new("idle");
    let path = bench.text("settings.toml");
    fs::write(&path, "[loss]\nbeta = 2.0\ntau_plus = 0.1\n").expect("it can be written");
    let told = run(&["config", "--config", &path]).ok().stderr;
    assert!(told.contains("without effect") && told.contains("settings.toml: loss.beta"), "{told}");
    assert!(!told.contains("tau_plus"), "it is the preset's: {told}");
    assert!(run(&["config", "--config", &path, "--method", "hcl"]).ok().stderr.is_empty());
}

#[test]
fn what_is_wrong_shows_before_any_work() {
    let bench = Bench::new("early");
    let init = ["--dry-run", "--init", &bench.text("none.safetensors")];
    run(&bench.train("run", &init)).fails(1, &["none.safetensors"]);
    run(&["eval", &bench.text("run"), "--fine-tune", "0"]).fails(2, &["--fine-tune", "at least 1"]);
    let done = run(&["gradcheck", "--op", "relu", "--method", "moco"]);
    assert_eq!(done.stdout, "", "nothing is checked before all names are known");
    done.fails(2, &["--method", "moco", "simclr"]);
}

#[test]
fn unknown_words_are_refused() {
    let bench = Bench::new("unknown");
    let path = bench.text("settings.toml");
    let config = |text: &str| {
        fs::write(&path, text).expect("the file can be written");
        run(&["config", "--config", &path])
    };
    config("epochs = 2\nepoch = 3\n").fails(2, &["settings.toml", "epoch"]);
    config("[optimizer]\nlearning_rate = 0.1\n").fails(2, &["settings.toml", "learning_rate"]);
    config("epochs = \"two\"\n").fails(2, &["settings.toml", "epochs"]);
    config("epochs = \n").fails(2, &["settings.toml"]);
    config("epochs = 2\n").ok();
    run(&["config", "--set", "optimizer.rate=1"]).fails(2, &["optimizer.rate"]);
    run(&["config", "--set", "epochs"]).fails(2, &["epochs"]);
    run(&["config", "--config", &bench.text("none.toml")]).fails(1, &["none.toml"]);
    run(&["train", "--fast"]).fails(2, &["--fast"]);
    run(&["fly"]).fails(2, &["fly"]);
    let help = run(&["train", "--help"]).ok();
    assert!(help.stdout.contains("--checkpoint-every") && help.stderr.is_empty());
}

#[test]
fn a_folder_without_a_run_is_named() {
    let bench = Bench::new("norun");
    let folder = bench.text("cifar-10-batches-bin");
    run(&["train", "--resume", &folder]).fails(2, &[&folder, "config.toml"]);
    run(&["eval", &folder]).fails(2, &[&folder, "config.toml"]);
    run(&["features", &folder, "--out", &bench.text("f")]).fails(2, &[&folder, "config.toml"]);
}

#[test]
fn a_diverging_run_stops_and_keeps_its_last_good_state() {
    let bench = Bench::new("diverging");
    let more = ["--set", "optimizer.lr=1e30", "--set", "schedule.curve=constant"];
    let done = run(&bench.train("run", &more));
    let replay = format!("dimask replay {}", bench.text("run/diverged.safetensors"));
    for part in ["  result, [", "  operand 1, [", &replay, "the last good state is kept in"] {
        assert!(done.stderr.contains(part), "no {part} in\n{}", done.stderr);
    }
    done.fails(1, &["diverged at step", " at the layer ", "not finite"]);
    let again = run(&["replay", &bench.text("run/diverged.safetensors"), "--threads", "3"]).ok();
    assert!(again.stdout.contains(" at the layer ") && again.stdout.contains("  result, ["));
    run(&["replay", &bench.text("run/checkpoint.safetensors")]).fails(1, &["kept by dimask train"]);
    assert_finite(&bench.path("run/checkpoint.safetensors"));
    assert!(!bench.path("run/summary.json").exists());
}

#[test]
fn a_state_that_a_finite_step_overflows_is_not_stored() {
    // One step an epoch: its loss and gradient are finite, the weights after it are not, and no
    // later step of the epoch would tell.
    let bench = Bench::new("overflowing");
    let more = ["--batch-size", "40", "--no-mask", "--lr", "1e30"];
    let decay = ["--set", "optimizer.weight_decay=1e30", "--checkpoint-every", "1"];
    let says = ["diverged at step 1", "weights of the layer", "not finite"];
    run(&bench.train("run", &[&more[..], &decay].concat())).fails(1, &says);
    assert_finite(&bench.path("run/checkpoint.safetensors"));
    assert!(!bench.path("run/summary.json").exists());
}

/// Fails unless every number in the checkpoint at `path` is finite.
#[track_caller]
fn assert_finite(path: &std::path::Path) {
    let bytes = fs::read(path).expect("there is a checkpoint");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    for (name, view) in file.tensors() {
        let finite = |x: &[u8]| f32::from_le_bytes([x[0], x[1], x[2], x[3]]).is_finite();
        if view.dtype() == safetensors::Dtype::F32 {
            assert!(view.data().chunks_exact(4).all(finite), "{name} is not finite");
        }
    }
}
