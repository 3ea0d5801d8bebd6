//! `dimask config`: all settings, as preset, file and flags make them.

use super::args::SettingArgs;
use super::output;
use crate::error::Result;

/// Prints the settings as TOML, with their hash in a comment.
pub(super) fn config(args: &SettingArgs) -> Result<()> {
    let config = args.resolve()?;
    output::print(&format!("# sha256 {}\n{}", config.sha256(), config.to_toml()))
}
