//! What the targets share: a file to put the input in, and the settings of a tiny run.

use dimask::config::{Layers, RunConfig};
use dimask::data::{ArchiveLimits, Loading};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process's own, in the place for temporary files.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("dimask-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        folder
    })
}

/// The input as a file of this name, with folders.
pub fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::create_dir_all(path.parent().expect("it is below the folder")).expect("it can be made");
    std::fs::write(&path, data).expect("the file can be written");
    path
}

/// Images at most this side, archives of at most this much.
pub fn loading() -> Loading {
    let archive = ArchiveLimits { bytes: 2 << 20, files: 100 };
    Loading { size: Some(8), archive, ..Loading::default() }
}

/// The settings that `run` makes the seeds with.
pub fn config() -> &'static RunConfig {
    static CONFIG: OnceLock<RunConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut layers = Layers::preset("demo").expect("it is there");
        for setting in include_str!("../seed.settings").lines() {
            layers.set_text(setting).expect("it is a setting");
        }
        layers.finish().expect("they make sense")
    })
}
