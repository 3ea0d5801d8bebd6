//! The `dimask` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dimask::cli::run(std::env::args_os()))
}
