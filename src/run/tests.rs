//! What tests of runs share: folders, small images, small configurations.

use std::path::{Path, PathBuf};

use crate::config::{Layers, RunConfig};

/// A folder of its own, gone when dropped.
pub(crate) struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A fresh folder; `name` must be unique among the tests of a process.
    pub(crate) fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("dimask-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Writes a small set in CIFAR-10's layout: 48 training and 20 test images whose class shows in
/// their colour.
pub(crate) fn write_cifar(folder: &Path) {
    let record = |index: usize| {
        let label = index % 10;
        let pixel = |at: usize| (label * 20 + (at * 7 + index * 13) % 50) as u8;
        std::iter::once(label as u8).chain((0..3072).map(pixel)).collect::<Vec<u8>>()
    };
    let write = |name: &str, images: std::ops::Range<usize>| {
        let bytes: Vec<u8> = images.flat_map(record).collect();
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    write("data_batch_1.bin", 0..30);
    write("data_batch_2.bin", 30..48);
    write("test_batch.bin", 100..120);
}

/// The preset `small` on the images in `dir`, with settings over it, in turn.
pub(crate) fn small(dir: &Path, settings: &[&[&str]]) -> Layers {
    let mut layers = Layers::preset("small").unwrap();
    layers.set("data.path", dir.display().to_string().into(), "test").unwrap();
    settings.concat().into_iter().for_each(|setting| layers.set_text(setting).unwrap());
    layers
}

/// A run of milliseconds on the images in `dir`: two epochs of four steps unless otherwise set.
pub(crate) fn tiny(dir: &Path, settings: &[&str]) -> RunConfig {
    let base = [
        "model.encoder=resnet18",
        "model.width=2",
        "model.contrastive_head=[8, 6]",
        "model.redundancy_head=[8, 6]",
        "data.size=8",
        "data.images=16",
        "batch_size=4",
        "epochs=2",
        "checkpoint_every=1",
        "optimizer.lr=0.01",
        "eval.baselines=false",
        "eval.linear_epochs=1",
        "eval.watch_images=16",
    ];
    small(dir, &[&base, settings]).finish().unwrap()
}
