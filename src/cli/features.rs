//! `dimask features`: writes the features of a run's checkpoint to a file.

use super::args::{FeaturesArgs, with_data};
use super::output;
use crate::error::Result;
use crate::train::container::{Container, Stored, check_writable};
use crate::train::evaluate::{Judge, masked};
use crate::train::load;

/// Writes `train.features` and `test.features` (under the mask), `train.unmasked` and
/// `test.unmasked`, and the labels where there are any, as safetensors.
pub(super) fn features(args: &FeaturesArgs) -> Result<()> {
    check_writable(&args.out)?;
    let change = |config| with_data(config, args.data.as_deref());
    let (config, images, state) = load(&args.dir, change)?;
    let judge = Judge::new(&images, &config);
    let mut container = Container::default();
    container.meta.insert("config".into(), config.canonical().into());
    for (name, set) in [("train", &images.bank), ("test", &images.test)] {
        if set.is_empty() {
            continue;
        }
        let unmasked = judge.features(&state, set)?;
        let features = masked(&unmasked, &state);
        for (kind, tensor) in [("features", features), ("unmasked", unmasked)] {
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
