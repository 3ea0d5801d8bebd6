//! `dimask features`: writes the features of a run's checkpoint to a file.

use super::args::{FeaturesArgs, with_data};
use super::output;
use super::progress::Progress;
use crate::error::Result;
use crate::files::check_writable;
use crate::run::container::{Container, Stored};
use crate::train::evaluate::{Judge, masked};
use crate::train::load;

/// Writes `train.features` and `test.features` and the labels where there are any, as safetensors;
/// of a run with a mask these features are under it, and `train.unmasked` and `test.unmasked` are
/// the same without.
pub(super) fn features(args: &FeaturesArgs) -> Result<()> {
    check_writable(&args.out)?;
    let change = |config| with_data(config, args.data.as_deref());
    let (config, images, state) = load(&args.dir, change, &mut Progress::new())?;
    let judge = Judge::new(&images, &config);
    let mut container = Container::default();
    container.meta.insert("config".into(), config.canonical().into());
    for (name, set) in [("train", &images.bank), ("test", &images.test)] {
        if set.is_empty() {
            continue;
        }
        let unmasked = judge.features(&state, set)?;
        let mut kinds = vec![("features", masked(&unmasked, &state))];
        if config.mask.enabled {
            kinds.push(("unmasked", unmasked));
        }
        for (kind, tensor) in kinds {
            let stored = Stored::f32(tensor.shape(), tensor.to_vec());
            container.tensors.insert(format!("{name}.{kind}"), stored);
        }
        if let Some(labels) = &set.labels {
            let labels = labels.iter().map(|&label| i64::from(label)).collect();
            let stored = Stored::i64(&[set.len()], labels);
            container.tensors.insert(format!("{name}.labels"), stored);
        }
    }
    container.write(&args.out)?;
    let mut text = String::new();
    for (name, tensor) in &container.tensors {
        text.push_str(&format!("{name} {:?}\n", tensor.shape));
    }
    output::print(&format!("{text}written to {}\n", args.out.display()))
}
