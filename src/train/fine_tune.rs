//! Fine-tuning: the whole encoder and a linear classifier, trained on labels.
//!
//! The encoder starts from a run's weights and the run's mask stays as it is; what a few labelled
//! epochs reach from there, against the same from first weights, is what pretraining is worth where
//! labels are at hand.

use super::evaluate::Judge;
use super::images::Images;
use super::{Observer, Stop};
use crate::augment::pair;
use crate::autodiff::{Reduction, Var, grad};
use crate::config::RunConfig;
use crate::data::{epoch_order, stratified_fraction};
use crate::error::{Error, Result};
use crate::eval::statistics::topk_accuracy;
use crate::nn::{Encode, Encoder, Layout, Linear, Module, Pass, into_params, leaves, with_params};
use crate::optim::{Optimizer, Sgd, cosine};
use crate::run::model::{self, State};

/// How it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTune {
    /// Passes over the labelled images.
    pub epochs: usize,
    /// The share of the training labels that is shown, of every class alike.
    pub labels: f64,
    /// The learning rate of the first step, on its way down to 0 along a cosine.
    pub lr: f64,
}

/// The encoder with a classifier on top.
#[derive(Clone)]
struct Classified {
    encoder: Encoder,
    classifier: Linear,
}

impl Module<f32> for Classified {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<f32>, Layout) -> Var<f32>) -> Self {
        let encoder = self.encoder.map_params(f);
        Classified { encoder, classifier: self.classifier.map_params(f) }
    }
}

/// Trains encoder and classifier from the state's weights, and returns the top-1 and top-5 accuracy
/// on the run's test images in percent.
///
/// Views are drawn as in the run, both of an image are labelled, batches are the run's or all the
/// labelled images there are; SGD with momentum 0.9 and no weight decay.
///
/// # Errors
/// `Usage` without labels; `Diverged` if the loss is not finite; `Interrupted` when `stop` asks.
pub fn fine_tune(
    config: &RunConfig,
    images: &Images,
    state: &State,
    settings: &FineTune,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<[f64; 2]> {
    let (train, test) = (&images.bank, &images.test);
    let (Some(labels), Some(test_labels)) = (&train.labels, &test.labels) else {
        return Err(Error::usage("--fine-tune", "the images have no labels"));
    };
    let mut state = state.clone();
    let features = state.network.encoder.features();
    let init = model::init(config);
    let mut network = Classified {
        encoder: state.network.encoder.clone(),
        classifier: Linear::new("classifier", features, train.classes, &init),
    };
    let factors = Var::constant(state.mask.factors());
    let shown = stratified_fraction(labels, settings.labels, config.seed);
    let batch_size = config.batch_size.min(shown.len());
    let steps = settings.epochs * (shown.len() / batch_size);
    let rule = Optimizer::Sgd(Sgd { momentum: 0.9, weight_decay: 0.0, ..Sgd::default() });
    let mut memory = rule.start(crate::nn::params(&network).iter().map(Var::value));
    let mut done = 0;
    for epoch in 0..settings.epochs {
        let order = epoch_order(shown.len(), config.seed, epoch as u64);
        let mut sum = 0.0;
        for batch in order.chunks_exact(batch_size) {
            let batch: Vec<usize> = batch.iter().map(|&at| shown[at]).collect();
            let (size, seed) = (train.size(), config.seed);
            let [first, second] = &images.views;
            let bytes = train.read(&batch)?;
            let views = pair([first, second], &bytes, size, &batch, epoch as u64, seed);
            let wanted: Vec<u32> = batch.iter().chain(&batch).map(|&image| labels[image]).collect();
            let leafy = leaves(&network);
            let mut pass = Pass::train(2);
            let h = leafy.encoder.forward(&Var::constant(views), &mut pass);
            let logits = leafy.classifier.forward(&(&h * &factors));
            let loss = logits.cross_entropy(&wanted, Reduction::Mean);
            sum += f64::from(loss.value().item());
            state.running.update(&pass.into_moments(), 0.1);
            drop((h, logits));
            let wrt = crate::nn::params(&leafy);
            let grads = grad(loss, &wrt.iter().collect::<Vec<_>>());
            drop((leafy, wrt));
            let rule = rule.with_lr(cosine(settings.lr, 0.0, done, steps));
            let (hollow, params) = into_params(network);
            let (params, next) = rule.step(params, &grads, memory);
            memory = next;
            network = with_params(&hollow, params.into_iter().map(Var::constant).collect());
            done += 1;
            if !sum.is_finite() {
                return Err(Error::Diverged { step: done, part: "the fine-tuning loss".into() });
            }
            if let Some(signal) = stop.requested() {
                return Err(Error::Interrupted { signal });
            }
        }
        let mean = sum / (shown.len() / batch_size) as f64;
        observer.note(&format!(
            "fine-tuning epoch {}/{}: loss {mean:.4}",
            epoch + 1,
            settings.epochs
        ));
    }
    state.network.encoder = network.encoder;
    let judge = Judge::new(images, config);
    let features = judge.features(&state, test)?;
    let features = Var::constant(super::evaluate::masked(&features, &state));
    let logits = network.classifier.forward(&features);
    Ok([1, 5].map(|top| 100.0 * topk_accuracy(logits.value(), test_labels, top)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::run::model;
    use crate::run::tests::{TempDir, write_cifar};

    #[test]
    fn labels_are_learned_and_the_run_stays_as_it_was() {
        let dir = TempDir::new("fine-tune");
        write_cifar(dir.path());
        let mut layers = Layers::preset("small").unwrap();
        layers.set("data.path", dir.path().display().to_string().into(), "test").unwrap();
        layers.set_text("batch_size=16").unwrap();
        layers.set_text("augment.crop_area=[0.8, 1.0]").unwrap();
        layers.set_text("augment.jitter_probability=0.0").unwrap();
        layers.set_text("augment.grayscale_probability=0.0").unwrap();
        let config = layers.finish().unwrap();
        let images = Images::load(&config).unwrap();
        let state = model::first_state(&config, 3);
        let before = model::weights_sha256(&config, &state, 0);
        let tuned = |epochs, labels| {
            let settings = FineTune { epochs, labels, lr: 0.05 };
            fine_tune(&config, &images, &state, &settings, &mut (), &Stop::default()).unwrap()
        };
        let [top1, top5] = tuned(12, 1.0);
        assert!(top1 >= 50.0 && top5 >= top1, "{top1} {top5}: classes show in the colours");
        assert!(tuned(1, 0.2)[0] <= top1);
        assert_eq!(model::weights_sha256(&config, &state, 0), before);
    }
}
