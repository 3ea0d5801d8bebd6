//! Layers of settings: a preset, then a file, then flags; and the canonical form with its hash.
//!
//! Each setting is put in place one at a time and the whole is read again, so that an error names
//! the very key, and where it was written. The preset depends on the method and on whether it has
//! the mask; where a layer sets these, the preset below it changes and the layers stay.

use std::path::Path;

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::presets::augmentation;
use super::{Amount, EncoderName, Method, Preset, RunConfig};
use crate::error::{Error, Result};

/// Settings under construction.
///
/// # Example
/// ```
/// # use dimask::config::Layers;
/// let mut layers = Layers::preset("demo")?;
/// layers.set("optimizer.lr", 0.1.into(), "--lr")?;
/// assert_eq!(layers.finish()?.optimizer.lr, 0.1);
/// # Ok::<(), dimask::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layers {
    /// The ground of the layers, if it is a preset.
    preset: Option<Preset>,
    /// What has been set over it, in order.
    settings: Vec<Setting>,
    /// The whole.
    table: Table,
}

/// A setting over a preset.
#[derive(Clone, Debug)]
struct Setting {
    key: String,
    value: Value,
    /// What errors call the place it was written in.
    source: String,
}

impl Layers {
    /// Starts from the preset called `name`, for SimCLR with the mask until a layer says otherwise.
    ///
    /// # Errors
    /// `Usage` if there is none of that name; the message lists the known ones.
    pub fn preset(name: &str) -> Result<Layers> {
        let preset = Preset::find(name)?;
        let table = preset.table(Method::Simclr, true);
        Ok(Layers { preset: Some(preset), settings: Vec::new(), table })
    }

    /// Puts the settings of a TOML file on top.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Usage` if it is not TOML or holds an unknown key or a value of
    /// the wrong type; each names the file and the key or the line.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        self.text(&text, &path.display().to_string())
    }

    /// Puts the settings of an augmentation of [`AUGMENTATIONS`](super::AUGMENTATIONS) on top.
    ///
    /// # Errors
    /// `Usage` if there is none of that name; the message lists the known ones.
    pub fn augment(&mut self, name: &str) -> Result<()> {
        for (key, value) in augmentation(name)? {
            self.set(&format!("augment.{key}"), value, "--augment")?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str, source: &str) -> Result<()> {
        let table = text.parse::<Table>().map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::usage(format!("{source}: line {line}"), e.message().to_string())
        })?;
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        for (key, value) in leaves {
            self.set(&key, value, &format!("{source}: {key}"))?;
        }
        Ok(())
    }

    /// Puts one setting on top: `key` with its section, as in `loss.temperature`.
    ///
    /// `source` is what an error calls the place it was written in: a flag, or a file and a key.
    ///
    /// # Errors
    /// `Usage` if there is no such key (the message lists its section's keys), or if the value is
    /// of the wrong type or not among the key's values.
    pub fn set(&mut self, key: &str, value: Value, source: &str) -> Result<()> {
        let before = self.table.clone();
        let value = self.put(key, value).map_err(|reason| Error::usage(source, reason))?;
        match self.table.clone().try_into::<RunConfig>() {
            Ok(config) => {
                let (key, source) = (key.to_string(), source.to_string());
                self.settings.push(Setting { key, value, source });
                let key = &self.settings[self.settings.len() - 1].key;
                if let ("method" | "mask.enabled", Some(preset)) = (&**key, self.preset) {
                    self.table = preset.table(config.method, config.mask.enabled);
                    for Setting { key, value, .. } in self.settings.clone() {
                        self.put(&key, value).expect("every preset has the same keys");
                    }
                }
                Ok(())
            }
            Err(e) => {
                let mut reason = plain(e.message());
                if reason.contains("unit variant") {
                    // Something else where a word must be: as one, it is told which there are.
                    self.put(key, Value::String(value.to_string())).expect("it was put before");
                    let again = self.table.clone().try_into::<RunConfig>();
                    reason = again.map_or_else(|e| plain(e.message()), |_| reason);
                }
                self.table = before;
                Err(Error::usage(source, reason))
            }
        }
    }

    /// Puts a value in its place; returns it in the place's type.
    fn put(&mut self, key: &str, value: Value) -> Result<Value, String> {
        let place = locate(&mut self.table, key)?;
        // A whole number is a fine way to write a real one.
        let value = match (&*place, value) {
            (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        *place = value.clone();
        let encoder = [("conv4", EncoderName::Conv4), ("resnet18", EncoderName::Resnet18)];
        let named = |(name, _): &&(&str, _)| key == "model.encoder" && value.as_str() == Some(name);
        if let Some((_, encoder)) = encoder.iter().find(named) {
            let width = locate(&mut self.table, "model.width").expect("every preset has the key");
            *width = Value::Integer(encoder.own_width() as i64);
        }
        Ok(value)
    }

    /// [`Layers::set`] from a `KEY=VALUE` text; a value that is not TOML is taken as a string.
    ///
    /// # Errors
    /// As [`Layers::set`], and `Usage` if there is no `=`.
    pub fn set_text(&mut self, assignment: &str) -> Result<()> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(Error::usage("--set", format!("{assignment:?} is not KEY=VALUE")));
        };
        let (key, text) = (key.trim(), text.trim());
        let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        let value = value.unwrap_or_else(|| Value::String(text.to_string()));
        self.set(key, value, &format!("--set {key}"))
    }

    /// The settings that were set here and have no effect in any of the runs `configs`, each with
    /// the place it was written in and the reason.
    ///
    /// A set of them that comes under one name, as an augmentation does, is like a preset: nobody
    /// has asked for each. So is what a file repeats of the preset.
    pub fn idle(&self, configs: &[RunConfig]) -> Vec<(&str, &'static str)> {
        let why = |key: &str| {
            let mut reasons = configs.iter().map(|config| config.idle(key));
            let reason = reasons.next()??;
            reasons.all(|reason| reason.is_some()).then_some(reason)
        };
        let asked_for = |setting: &&Setting| match &*setting.source {
            "--augment" => false,
            flag if flag.starts_with("--") => true,
            _ => configs.iter().any(|config| self.differs(setting, config)),
        };
        let asked_for = self.settings.iter().filter(asked_for);
        asked_for.filter_map(|setting| Some((&*setting.source, why(&setting.key)?))).collect()
    }

    /// Whether a setting is another than the preset's for the method of `config`.
    fn differs(&self, setting: &Setting, config: &RunConfig) -> bool {
        let Some(preset) = self.preset else { return true };
        let mut table = preset.table(config.method, config.mask.enabled);
        locate(&mut table, &setting.key).is_ok_and(|own| *own != setting.value)
    }

    /// The checked whole.
    ///
    /// # Errors
    /// As [`RunConfig::check`].
    pub fn finish(self) -> Result<RunConfig> {
        let config: RunConfig =
            self.table.try_into().expect("every layer was read when it was set");
        config.check()?;
        Ok(config)
    }
}

impl From<&RunConfig> for Layers {
    fn from(config: &RunConfig) -> Layers {
        let table = config.to_toml().parse().expect("settings are a TOML table");
        Layers { preset: None, settings: Vec::new(), table }
    }
}

impl RunConfig {
    /// The checked settings of a preset as it stands.
    ///
    /// # Errors
    /// As [`Layers::preset`].
    pub fn preset(name: &str) -> Result<RunConfig> {
        Layers::preset(name)?.finish()
    }

    /// Reads the complete TOML that [`RunConfig::to_toml`] writes.
    ///
    /// # Errors
    /// `Format` naming `path` if a key is missing, unknown or of the wrong type; `Usage` if the
    /// whole makes no sense.
    pub fn from_toml(text: &str, path: &Path) -> Result<RunConfig> {
        let config: RunConfig = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::format(path, format!("line {line}"), "a run's settings", plain(e.message()))
        })?;
        config.check()?;
        Ok(config)
    }

    /// The settings as a TOML file with every key.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("plain numbers, words and lists are always TOML")
    }

    /// The canonical form: the same without folders and memory, which do not change the result.
    ///
    /// Of the file with the first weights its name stays: such a run is not one from drawn weights.
    pub fn canonical(&self) -> String {
        let mut config = self.clone();
        config.data.path.clear();
        config.data.memory_mb = 1; // Where bytes lie is no part of the result either.
        for amount in [&mut config.data.images, &mut config.data.test_images] {
            // The same images, but where one of the two is an error.
            *amount = amount.number().map_or(Amount::All, Amount::Exactly);
        }
        let init = Path::new(&config.init).file_name();
        config.init = init.unwrap_or_default().to_string_lossy().into_owned();
        // As it was before there was a choice: what it says then is what always was.
        let leave_out = |text: String, line| text.replace(&format!("{line}\n"), "");
        YOUNGER.into_iter().fold(config.to_toml(), leave_out)
    }

    /// SHA-256 of the canonical form, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.canonical()))
    }
}

/// Settings that are younger than the first runs, as all those have them without saying it.
const YOUNGER: [&str; 2] = ["batch_norm = \"all-ranks\"", "precision = \"f32\""];

/// The first line in which two canonical forms differ, as each has it, or would if it were said.
pub(crate) fn difference(own: &str, other: &str) -> Option<[String; 2]> {
    fn key(line: &str) -> &str {
        line.split(" = ").next().unwrap_or_default()
    }
    let end = || std::iter::repeat("");
    let longest = own.lines().count().max(other.lines().count());
    let mut lines = own.lines().chain(end()).zip(other.lines().chain(end())).take(longest);
    let (a, b) = lines.find(|(a, b)| a != b)?;
    let lacks =
        |text: &str, of: &str| !of.is_empty() && text.lines().all(|line| key(line) != key(of));
    let unsaid = |of: &str| {
        let line = YOUNGER.iter().find(|line| key(line) == key(of));
        line.map_or(format!("no {}", key(of)), |line| line.to_string())
    };
    Some(match (lacks(other, a), lacks(own, b)) {
        (true, _) => [a.to_string(), unsaid(a)],
        (_, true) => [unsaid(b), b.to_string()],
        _ => [a, b].map(str::to_string),
    })
}

/// A complaint of serde's in the words of all others: `"x" is none of a, b`.
fn plain(message: &str) -> String {
    let unknown = ["unknown variant `", "unknown field `"];
    let rest = unknown.iter().find_map(|start| message.strip_prefix(start));
    let Some((word, known)) = rest.and_then(|rest| rest.split_once("`, expected ")) else {
        let types = [("f64", "a number"), ("usize", "a whole number"), ("u64", "a whole number")];
        let ending = |(name, words): &(&str, &str)| {
            let start = message.strip_suffix(name)?;
            start.ends_with("expected ").then(|| format!("{start}{words}"))
        };
        return types.iter().find_map(ending).unwrap_or_else(|| message.to_string());
    };
    // Every second piece is between backticks, the last one is what else is said.
    let pieces: Vec<&str> = known.split('`').collect();
    let known: Vec<&str> = pieces.iter().skip(1).step_by(2).copied().collect();
    let more = pieces.last().unwrap_or(&"");
    format!("{word:?} is none of {}{more}", known.join(", "))
}

/// Lower-case hexadecimal digits of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn flatten(prefix: &str, table: &Table, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, leaves),
            value => leaves.push((key, value.clone())),
        }
    }
    // In the order of the alphabet `model.encoder` comes before `model.width`, which it sets.
    leaves.sort_by(|a, b| a.0.cmp(&b.0));
}

fn locate<'a>(table: &'a mut Table, key: &str) -> Result<&'a mut Value, String> {
    let (section, rest) = key.split_once('.').map_or((key, None), |(s, r)| (s, Some(r)));
    if !table.contains_key(section) {
        let known = table.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(format!("{section:?} is none of {known}"));
    }
    match (&mut table[section], rest) {
        (Value::Table(inner), Some(rest)) => locate(inner, rest),
        (Value::Table(_), None) => Err(format!("{section:?} is a section, not a key")),
        (_, Some(_)) => Err(format!("{section:?} is a key, not a section")),
        (value, None) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    fn message(result: Result<()>) -> String {
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn every_preset_is_complete_and_makes_sense() {
        for (preset, method) in PRESETS.iter().flat_map(|p| Method::ALL.map(|m| (p.name, m))) {
            for masked in [true, false] {
                let mut layers = Layers::preset(preset).unwrap();
                layers.set("method", method.key().into(), "--method").unwrap();
                layers.set("mask.enabled", masked.into(), "--no-mask").unwrap();
                let config = layers.finish().unwrap_or_else(|e| panic!("{preset} {method}: {e}"));
                assert_eq!((config.method, config.mask.enabled), (method, masked));
                let reread = RunConfig::from_toml(&config.to_toml(), Path::new(preset)).unwrap();
                assert_eq!(config, reread, "{preset} {method}");
            }
        }
        assert!(message(Layers::preset("big").map(|_| ())).contains("demo, small, official"));
    }

    #[test]
    fn later_layers_win_and_errors_name_the_place() {
        let mut layers = Layers::preset("demo").unwrap();
        layers.text("[optimizer]\nlr = 1\n[data]\nimages = \"all\"", "run.toml").unwrap();
        layers.set("epochs", 7.into(), "--epochs").unwrap();
        layers.set_text("data.name=cifar10").unwrap();
        layers.set_text("model.contrastive_head=[64, 32]").unwrap();

        let wrong = message(layers.text("[loss]\ntemprature = 1", "run.toml"));
        assert!(wrong.starts_with("run.toml: loss.temprature: \"temprature\" is none"), "{wrong}");
        assert!(
            wrong.contains("lambda, queue, target_momentum, tau_plus, temperature, w_con"),
            "{wrong}"
        );
        let wrong = message(layers.text("seed = 1\nmethod = 'mocov3'", "run.toml"));
        assert!(wrong.starts_with("run.toml: method: \"mocov3\" is none of barlow"), "{wrong}");
        let wrong = message(layers.text("seed = 1\nx = = 2", "run.toml"));
        assert!(wrong.starts_with("run.toml: line 2: "), "{wrong}");
        let wrong = message(layers.set("epochs", "two".into(), "--epochs"));
        assert_eq!(wrong, "--epochs: invalid type: string \"two\", expected a whole number");
        let wrong = message(layers.set("loss.beta", "two".into(), "--set loss.beta"));
        assert!(wrong.ends_with("string \"two\", expected a number"), "{wrong}");
        let wrong = message(layers.set("model.precision", 1.into(), "--set model.precision"));
        assert_eq!(wrong, "--set model.precision: \"1\" is none of f32, bf16");
        assert!(message(layers.set_text("loss")).contains("KEY=VALUE"));
        assert!(message(layers.set("loss", 1.into(), "--set loss")).contains("is a section"));

        let config = layers.finish().unwrap();
        assert_eq!((config.optimizer.lr, config.epochs, config.seed), (1.0, 7, 1));
        assert_eq!(config.data.images, Amount::All);
        assert_eq!(config.model.contrastive_head, [64, 32]);
    }

    #[test]
    fn a_method_brings_its_own_settings_under_those_that_were_set() {
        let mut layers = Layers::preset("official").unwrap();
        layers.set("optimizer.lr", 0.5.into(), "--lr").unwrap();
        layers.set("method", "byol".into(), "--method").unwrap();
        let config = layers.clone().finish().unwrap();
        assert_eq!((config.model.predictor_head, config.optimizer.lr), (vec![4096, 256], 0.5));
        layers.set("method", "simclr".into(), "--method").unwrap();
        assert_eq!(layers.clone().finish().unwrap().epochs, 800);
        layers.set("mask.enabled", false.into(), "--no-mask").unwrap();
        let config = layers.finish().unwrap();
        assert_eq!((config.epochs, config.loss.temperature), (1000, 0.5));
        assert_eq!(config.optimizer.lr, 0.5);
    }

    #[test]
    fn a_setting_of_views_is_one_for_both_or_one_for_each() {
        let mut layers = Layers::preset("official").unwrap();
        let own = layers.clone().finish().unwrap().augment;
        layers.augment("official").unwrap();
        assert_eq!(layers.clone().finish().unwrap().augment, own);
        layers.augment("asymmetric").unwrap();
        layers.set_text("augment.crop_area=[[0.2, 1], [0.1, 0.5]]").unwrap();
        layers.set_text("augment.hue=0").unwrap();
        let config = layers.clone().finish().unwrap();
        assert_eq!(config.augment.solarize_probability.0, [0.0, 0.2]);
        assert_eq!(config.augment.crop_area.0, [[0.2, 1.0], [0.1, 0.5]]);
        assert_eq!(config.augment.hue.0, [0.0, 0.0]);
        let written = config.to_toml();
        assert!(written.contains("hue = 0.0\n") && written.contains("[0.0, 0.2]"), "{written}");
        assert_eq!(RunConfig::from_toml(&written, Path::new("x")).unwrap(), config);
        let wrong = message(layers.set_text("augment.hue=[0, 0, 0]"));
        assert!(wrong.starts_with("--set augment.hue: ") && wrong.contains("two"), "{wrong}");
        let wrong = message(layers.set_text("augment.hue='much'"));
        assert!(wrong.contains("much") && wrong.contains("two"), "{wrong}");
        assert!(message(layers.augment("simclr")).contains("official, symmetric, asymmetric"));
    }

    #[test]
    fn what_has_no_effect_is_told_where_somebody_asked_for_it() {
        let mut layers = Layers::preset("demo").unwrap();
        let file = "[loss]\nbeta = 2\nqueue = 4096\ntemperature = 0.7";
        layers.text(file, "run.toml").unwrap();
        layers.augment("symmetric").unwrap();
        layers.set("mask.trial", "contrastive".into(), "--trial-step").unwrap();
        layers.set("mask.meta", "off".into(), "--meta").unwrap();
        let config = layers.clone().finish().unwrap();
        let found = |configs: &[RunConfig]| -> Vec<String> {
            layers.idle(configs).iter().map(|(source, _)| source.to_string()).collect()
        };
        // Not the queue, which the file only repeats.
        assert_eq!(found(std::slice::from_ref(&config)), ["run.toml: loss.beta", "--trial-step"]);
        // One run in which it has an effect is enough.
        let hcl = RunConfig { method: Method::Hcl, ..config.clone() };
        assert_eq!(found(&[config, hcl]), ["--trial-step"]);
    }

    #[test]
    fn an_encoder_brings_its_own_width() {
        let mut layers = Layers::preset("demo").unwrap();
        layers.text("[model]\nwidth = 16\nencoder = \"resnet18\"", "f").unwrap();
        assert_eq!(layers.clone().finish().unwrap().model.width, 16);
        layers.set("model.encoder", "resnet18".into(), "--encoder").unwrap();
        let model = layers.finish().unwrap().model;
        assert_eq!((model.encoder, model.width), (EncoderName::Resnet18, 64));
    }

    #[test]
    fn differences_name_a_line_of_each_side_said_or_not() {
        let base = RunConfig::preset("demo").unwrap();
        let mut other = base.clone();
        assert_eq!(difference(&base.canonical(), &other.canonical()), None);
        other.model.precision = crate::config::Precision::Bf16;
        let [own, other] = [base.canonical(), other.canonical()];
        let [f32, bf16] = ["f32", "bf16"].map(|word| format!("precision = \"{word}\""));
        assert_eq!(difference(&own, &other), Some([f32.clone(), bf16.clone()]));
        assert_eq!(difference(&other, &own), Some([bf16, f32]));
        let of_ranks = ["vector instructions = avx512 with tiles", "vector instructions = avx512"];
        assert_eq!(difference(of_ranks[0], of_ranks[1]), Some(of_ranks.map(String::from)));
        assert_eq!(difference("a = 1", ""), Some(["a = 1", "no a"].map(String::from)));
    }

    #[test]
    fn the_hash_ignores_where_the_data_lie_and_nothing_else() {
        let base = RunConfig::preset("demo").unwrap();
        let mut other = base.clone();
        other.data.path = "/somewhere".into();
        other.data.memory_mb = 7;
        assert_eq!(base.sha256(), other.sha256());
        other.seed += 1;
        assert_ne!(base.sha256(), other.sha256());
        // Of a setting that is younger than the first runs only the other choice is new.
        let old = base.canonical();
        assert!(!old.contains("batch_norm =") && !old.contains("precision ="), "{old}");
        assert_eq!(RunConfig::from_toml(&old, Path::new("old")).unwrap().canonical(), old);
        other = base.clone();
        other.model.batch_norm = crate::config::BatchNormOver::EachRank;
        assert_ne!(base.sha256(), other.sha256());
        other = base.clone();
        other.model.precision = crate::config::Precision::Bf16;
        assert_ne!(base.sha256(), other.sha256());
        assert_eq!(base.sha256().len(), 64);
    }
}
