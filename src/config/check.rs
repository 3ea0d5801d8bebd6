//! Whether the settings make sense together; the data are not looked at here.

use super::{EncoderName, Labels, LearnFrom, MetaMode, Per, RunConfig, SourceName};
use crate::error::{Error, Result};

/// `Ok` where `holds`, else a usage error under the setting's key.
fn require(holds: bool, key: &str, reason: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::usage(key, reason())) }
}

impl RunConfig {
    /// Refuses settings that cannot make a run.
    ///
    /// # Errors
    /// `Usage` under the key at fault, with its value and what would be right.
    pub fn check(&self) -> Result<()> {
        let at_least = |key: &str, value: usize, least: usize| {
            require(value >= least, key, || format!("is {value}, must be at least {least}"))
        };
        // Training computes in single precision, where a number must not become 0 or infinite.
        let single = |value: f64| value as f32;
        let positive = |key: &str, value: f64| {
            let holds = single(value) > 0.0 && single(value).is_finite();
            require(holds, key, || format!("is {value}, must be a single-precision number above 0"))
        };
        let not_negative = |key: &str, value: f64| {
            let holds = value >= 0.0 && single(value).is_finite();
            require(holds, key, || {
                format!("is {value}, must be a single-precision number of at least 0")
            })
        };
        let within = |key: &str, value: f64, low: f64, high: f64| {
            let holds = (low..=high).contains(&value);
            require(holds, key, || format!("is {value}, must lie between {low} and {high}"))
        };

        at_least("epochs", self.epochs, 1)?;
        require(self.epochs <= 1_000_000, "epochs", || {
            format!("is {}, must be at most 1000000", self.epochs)
        })?;
        // Barlow Twins standardises over the batch, and NT-Xent needs a negative.
        at_least("batch_size", self.batch_size, 2)?;
        require(i64::try_from(self.seed).is_ok(), "seed", || {
            format!("is {}, must be below 2^63", self.seed)
        })?;
        if let Some(images) = self.data.images.number() {
            at_least("data.images", images, 1)?;
            require(self.batch_size <= images, "batch_size", || {
                format!("is {}, more than the run's {images} images", self.batch_size)
            })?;
        }

        at_least("data.memory_mb", self.data.memory_mb, 1)?;
        require(self.data.size <= 1024, "data.size", || {
            format!("is {}, must be at most 1024", self.data.size)
        })?;
        let [set, labels] = [self.data.name, SourceName::Cifar100];
        require(self.data.labels == Labels::Fine || set == labels, "data.labels", || {
            format!("is \"coarse\", but only {labels} has two kinds of labels")
        })?;
        let unlabelled = self.data.learn_from == LearnFrom::Unlabelled;
        require(!unlabelled || set == SourceName::Stl10, "data.learn_from", || {
            format!(
                "is \"unlabelled\", but only {} has images without labels apart",
                SourceName::Stl10
            )
        })?;
        if let Some(images) = self.data.test_images.number() {
            at_least("data.test_images", images, 1)?;
        }

        within("data.confounder", self.data.confounder, 0.0, 1.0)?;

        let model = &self.model;
        at_least("model.width", model.width, 1)?;
        let most = 4096; // A width beyond it is a slip of the keyboard, and overflows memory first.
        require(model.width <= most, "model.width", || {
            format!("is {}, must be at most {most}", model.width)
        })?;
        let fits = model.encoder != EncoderName::Conv4 || model.width == 32;
        require(fits, "model.width", || {
            format!("is {}, but conv4 is 32 wide; resnet18 takes any width", model.width)
        })?;
        require(
            model.stem_relu || model.encoder == EncoderName::Resnet18,
            "model.stem_relu",
            || "is false, but only resnet18 has a stem".to_string(),
        )?;
        let heads = [
            ("contrastive", &model.contrastive_head),
            ("predictor", &model.predictor_head),
            ("redundancy", &model.redundancy_head),
        ];
        for (name, widths) in heads {
            let key = format!("model.{name}_head");
            let required = name != "predictor" || self.method.predicts();
            require(!(widths.is_empty() && required), &key, || {
                "needs at least one layer".to_string()
            })?;
            for &width in widths {
                require((1..=65_536).contains(&width), &key, || {
                    format!("has a layer of width {width}, must be between 1 and 65536")
                })?;
            }
            let weights: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
            require(weights <= 1 << 28, &key, || {
                format!("has {weights} weights between its layers, must be at most {}", 1 << 28)
            })?;
        }

        if self.method.predicts() {
            let [projection, prediction] =
                [&model.contrastive_head, &model.predictor_head].map(|head| head.last());
            require(projection == prediction, "model.predictor_head", || {
                let [a, b] = [prediction, projection].map(|width| width.copied().unwrap_or(0));
                format!("ends {a} wide, but what it predicts is {b} wide, like contrastive_head")
            })?;
        }

        let loss = &self.loss;
        positive("loss.temperature", loss.temperature)?;
        within("loss.tau_plus", loss.tau_plus, 0.0, 0.99)?;
        not_negative("loss.beta", loss.beta)?;
        at_least("loss.queue", loss.queue, 1)?;
        within("loss.target_momentum", loss.target_momentum, 0.0, 1.0)?;
        not_negative("loss.lambda", self.loss.lambda)?;
        not_negative("loss.w_con", self.loss.w_con)?;
        not_negative("loss.w_drr", self.loss.w_drr)?;
        positive("optimizer.lr", self.optimizer.lr)?;
        within("optimizer.momentum", self.optimizer.momentum, 0.0, 1.0)?;
        not_negative("optimizer.weight_decay", self.optimizer.weight_decay)?;
        positive("optimizer.lars_eta", self.optimizer.lars_eta)?;
        for beta in self.optimizer.adam_betas {
            let holds = (0.0..1.0).contains(&beta);
            require(holds, "optimizer.adam_betas", || {
                format!("has {beta}, must be at least 0 and below 1")
            })?;
        }
        positive("optimizer.adam_eps", self.optimizer.adam_eps)?;
        not_negative("mask.lr", self.mask.lr)?;
        within("mask.momentum", self.mask.momentum, 0.0, 1.0)?;
        not_negative("mask.weight_decay", self.mask.weight_decay)?;
        positive("mask.radius", self.mask.radius)?;
        within("mask.random_rate", self.mask.random_rate, 0.0, 0.99)?;
        let unroll = self.mask.unroll;
        at_least("mask.unroll", unroll, 1)?;
        // The graph of every trial step stays in memory until the last is differentiated.
        require(unroll <= 16, "mask.unroll", || {
            format!("is {unroll}, must be at most 16: memory grows with every trial step")
        })?;
        require(unroll == 1 || self.mask.meta == MetaMode::Exact, "mask.unroll", || {
            format!("is {unroll}, but only meta = \"exact\" has more than one trial step")
        })?;

        let schedule = &self.schedule;
        within("schedule.final_fraction", schedule.final_fraction, 0.0, 1.0)?;
        require(schedule.warmup_epochs < self.epochs, "schedule.warmup_epochs", || {
            format!("is {}, must be below epochs ({})", schedule.warmup_epochs, self.epochs)
        })?;
        require(schedule.warmup_epochs == 0 || schedule.per == Per::Step, "schedule.per", || {
            "is \"epoch\", but a warm-up moves with every step".to_string()
        })?;

        at_least("eval.linear_epochs", self.eval.linear_epochs, 1)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Layers;

    #[track_caller]
    fn refused(settings: &[&str], expected: &str) {
        let mut layers = Layers::preset("demo").unwrap();
        for setting in settings {
            layers.set_text(setting).unwrap();
        }
        let error = layers.finish().expect_err("should be refused");
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn impossible_settings_are_refused_by_key() {
        refused(&["epochs=0"], "epochs: is 0, must be at least 1");
        refused(&["epochs=4611686018427387904"], "epochs: is 4611686018427387904, must be at most");
        refused(
            &["optimizer.lr=1e39"],
            "optimizer.lr: is 1000000000000000000000000000000000000000",
        );
        refused(
            &["model.contrastive_head=[65536, 65536, 65536]"],
            "model.contrastive_head: has 8589934592 weights",
        );
        refused(&["batch_size=1"], "batch_size: is 1");
        refused(
            &["data.images=100", "batch_size=256"],
            "batch_size: is 256, more than the run's 100",
        );
        refused(&["data.images=0"], "data.images: is 0");
        refused(&["data.memory_mb=0"], "data.memory_mb: is 0, must be at least 1");
        refused(&["data.size=2000"], "data.size: is 2000, must be at most 1024");
        refused(&["data.labels=coarse"], "data.labels: is \"coarse\", but only cifar100");
        refused(&["data.learn_from=unlabelled"], "data.learn_from: is \"unlabelled\", but only");
        refused(&["model.width=0"], "model.width: is 0");
        refused(&["model.contrastive_head=[]"], "model.contrastive_head: needs");
        refused(&["model.redundancy_head=[8, 0]"], "model.redundancy_head: has a layer of width 0");
        refused(&["model.stem_relu=false"], "model.stem_relu: is false");
        refused(&["loss.temperature=0"], "loss.temperature: is 0");
        refused(&["loss.temperature=nan"], "loss.temperature: is NaN");
        refused(&["optimizer.lr=-0.1"], "optimizer.lr: is -0.1");
        refused(&["optimizer.lr=inf"], "optimizer.lr: is inf");
        refused(&["optimizer.lr=1e39"], "optimizer.lr: is 1");
        refused(&["loss.temperature=1e-60"], "loss.temperature: is 0.0");
        refused(
            &["optimizer.momentum=1.5"],
            "optimizer.momentum: is 1.5, must lie between 0 and 1",
        );
        refused(&["method=byol", "model.predictor_head=[]"], "model.predictor_head: needs");
        refused(
            &["method=nnclr", "model.predictor_head=[64]"],
            "model.predictor_head: ends 64 wide, but what it predicts is 128 wide",
        );
        refused(&["loss.tau_plus=1"], "loss.tau_plus: is 1, must lie between 0 and 0.99");
        refused(&["loss.queue=0"], "loss.queue: is 0");
        refused(&["optimizer.adam_betas=[0.9, 1.0]"], "optimizer.adam_betas: has 1");
        refused(&["mask.unroll=2", "mask.meta=first-order"], "mask.unroll: is 2, but only");
        refused(&["mask.unroll=17"], "mask.unroll: is 17, must be at most 16");
        refused(&["schedule.warmup_epochs=99"], "schedule.warmup_epochs: is 99, must be below");
        refused(
            &["schedule.per=epoch", "schedule.warmup_epochs=1"],
            "schedule.per: is \"epoch\", but a warm-up",
        );
        refused(&["model.width=16"], "model.width: is 16, but conv4 is 32 wide");
    }
}
