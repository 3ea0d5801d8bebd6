//! Settings: as a run's whole file, as a file over a preset, and one at a time.
#![no_main]

use dimask::config::{Layers, RunConfig};
use dimask_fuzz::file;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

static PRESET: LazyLock<Layers> = LazyLock::new(|| Layers::preset("small").expect("it is there"));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = RunConfig::from_toml(text, Path::new("x")) {
        let again = RunConfig::from_toml(&config.to_toml(), Path::new("x"));
        assert_eq!(again.expect("what is written can be read"), config);
    }
    let mut layers = PRESET.clone();
    if text.len() < 100 && !text.contains('\n') {
        let _ = layers.set_text(text);
    }
    if layers.file(&file("settings.toml", data)).is_ok() {
        let _ = layers.finish();
    }
});
