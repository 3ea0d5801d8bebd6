//! The build script: what it reads off a compiler's version, and that this build obeyed it.

use std::process::Command;

use dimask::kernels::dispatch::Level;

#[allow(dead_code)] // `main`, which the build has run.
#[path = "../../src/build.rs"]
mod script;

use script::knows_avx512;

#[test]
fn a_version_says_whether_the_compiler_knows_avx512() {
    for knows in [
        "rustc 1.89.0 (29483883e 2025-08-04)",
        "rustc 1.95.0 (59807616e 2026-04-14)\n",
        "rustc 1.96.1",
        "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", // Debian
        "rustc 1.90.0-beta.3 (e4a4f4f5d 2025-08-12)",
        "rustc 1.97.0-nightly (f2efb4b3d 2026-05-01)",
        "rustc 1.100.0-dev",
    ] {
        assert!(knows_avx512(knows), "{knows}");
    }
    for old in [
        "rustc 1.85.0 (4d91de4e4 2025-02-17) (built from a source tarball)", // Debian
        "rustc 1.88.0 (6b00bc388 2025-06-23)",
        "rustc 1.9.0 (e4e8b6668 2016-05-18)",
        "rustc 1.89.0-nightly (414482f6a 2025-05-05)", // Before the instructions were stable.
        "rustc 1.89.0-beta.1 (8e9b3d8ea 2025-06-20)",
        "rustc 2.89.0",
        "rustc 1.x.0",
        "rustc 1.95",
        "mrustc 1.95.0",
        "error: no such command",
        "",
    ] {
        assert!(!knows_avx512(old), "{old}");
    }
}

#[test]
fn this_build_has_the_levels_that_its_compiler_knows() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("cargo has a compiler");
    let version = String::from_utf8(output.stdout).expect("a version is text");
    let x86_64 = cfg!(target_arch = "x86_64");
    assert!(Level::Scalar.is_built());
    assert_eq!(Level::Avx2.is_built(), x86_64);
    assert_eq!(Level::Avx512.is_built(), x86_64 && knows_avx512(&version), "{version}");
}
