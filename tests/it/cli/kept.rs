//! Run folders that an older program wrote (`tests/runs`): each resumes to the weights and the
//! configuration's hash that the older program ends with.

use super::{Bench, program, run_command};
use dimask::kernels::dispatch::Level;
use std::path::Path;

/// Folder, then the first digits of the hashes of: the configuration; the weights at level
/// scalar; the weights at AVX2 and AVX-512, which compute the same bits.
const KEPT: [(&str, &str, &str, &str); 6] = [
    ("barlow-twins-joint", "6c427464067a34bf", "2612c3638c543696", "d0fb7b4342a25fcd"),
    ("byol-joint-shared", "cd014a84d9c4cff7", "a411ea925910aaad", "c46ef4da837cc2fb"),
    ("dcl-plain", "d6e33c294198d177", "c036f10de55079df", "da707a59db0f28e4"),
    ("hcl-finite-difference", "2ddd2cfaef82ab79", "dedec7afc0e61fd5", "59f7305e32b5d6d4"),
    ("nnclr-exact", "1c746cf595daf60f", "b9556d469109c16a", "af5d32e3b666a643"),
    ("simclr-plain", "a300b8e2248453c2", "eb134c2a43e3d222", "071adee251d0bb8a"),
];

#[test]
fn runs_of_an_older_program_resume_to_its_bits() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("NOT CHECKED: the hashes are those of x86-64 Linux with its own C library");
        return;
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs");
    assert_eq!(kept.read_dir().unwrap().count(), KEPT.len(), "each folder is in the table");
    let bench = Bench::new("kept");
    for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
        let level_name = level.name();
        if let Some(obstacle) = level.obstacle() {
            println!("NOT CHECKED: {level_name}; {obstacle}");
            continue;
        }
        for (name, config, scalar, avx) in KEPT {
            let run = format!("{level_name}-{name}");
            let folder = bench.path(&run);
            std::fs::create_dir(&folder).unwrap();
            for file in kept.join(name).read_dir().unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
            }
            let mut resume = program(&["train", "--resume", &bench.text(&run), "--threads", "2"]);
            resume.current_dir(env!("CARGO_MANIFEST_DIR")).env("DIMASK_SIMD", level_name);
            run_command(resume).ok();
            let summary = bench.json(&format!("{run}/summary.json"));
            let expected = if level == Level::Scalar { scalar } else { avx };
            for (key, expected) in [("config_sha256", config), ("weights_sha256", expected)] {
                let hash = summary[key].as_str().unwrap();
                assert!(hash.starts_with(expected), "{run}: {key} is {hash}");
            }
        }
    }
}
