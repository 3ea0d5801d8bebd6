//! Build script: leaves the kernels for AVX-512 out where the compiler does not know them.
//!
//! Rust has the instructions of AVX-512 since 1.89. The script asks the compiler for its version
//! and sets `cfg(avx512)`, for x86-64 only; a version that it cannot read counts as too old. It
//! needs no dependency and looks at nothing else.

use std::process::Command;

/// The first minor version of Rust 1 whose intrinsics of AVX-512 are stable.
const AVX512: u32 = 89;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rustc-check-cfg=cfg(avx512)");
    let x86_64 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if x86_64 && version.is_ok_and(|version| knows_avx512(&version)) {
        println!("cargo::rustc-cfg=avx512");
    }
}

/// Whether the compiler that calls itself this (`rustc --version`) has stable intrinsics of
/// AVX-512. What is not a version of Rust is taken for an old one.
pub(crate) fn knows_avx512(version: &str) -> bool {
    minor(version).is_some_and(|minor| minor >= AVX512)
}

/// `y` of `rustc 1.y.z (...)`. A version before its release (`1.y.z-nightly`, `-beta.n`, `-dev`)
/// counts as the release before it, because some of what is new in it may be missing.
fn minor(version: &str) -> Option<u32> {
    let number = version.strip_prefix("rustc 1.")?.split_whitespace().next()?;
    let (minor, patch) = number.split_once('.')?;
    let minor = minor.parse::<u32>().ok()?;
    if patch.parse::<u32>().is_ok() { Some(minor) } else { minor.checked_sub(1) }
}
