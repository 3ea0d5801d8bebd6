//! The presets: complete settings by name, with what each method changes in them.
//!
//! A preset is a complete TOML file; a method's file beside it holds what differs for that method,
//! and in its table `plain` what differs once more where the method runs without the mask: base
//! and masked method are each at their own best setting.

use toml::{Table, Value};

use super::Method;
use crate::error::{Error, Result};

/// A preset by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name on the command line.
    pub name: &'static str,
    base: &'static str,
    methods: [(Method, &'static str); 6],
}

/// The files of the six methods in a folder, SimCLR's maybe in another.
macro_rules! methods {
    ($folder:literal) => {
        methods!($folder, $folder)
    };
    ($folder:literal, $simclr:literal) => {
        [
            (Method::BarlowTwins, include_str!(concat!("presets/", $folder, "/barlow-twins.toml"))),
            (Method::Simclr, include_str!(concat!("presets/", $simclr, "/simclr.toml"))),
            (Method::Byol, include_str!(concat!("presets/", $folder, "/byol.toml"))),
            (Method::Dcl, include_str!(concat!("presets/", $folder, "/dcl.toml"))),
            (Method::Hcl, include_str!(concat!("presets/", $folder, "/hcl.toml"))),
            (Method::Nnclr, include_str!(concat!("presets/", $folder, "/nnclr.toml"))),
        ]
    };
}

/// All presets.
pub const PRESETS: [Preset; 3] = [
    Preset {
        name: "demo",
        base: include_str!("presets/demo.toml"),
        methods: methods!("small", "demo"),
    },
    Preset { name: "small", base: include_str!("presets/small.toml"), methods: methods!("small") },
    Preset {
        name: "official",
        base: include_str!("presets/official.toml"),
        methods: methods!("official"),
    },
];

/// Augmentations by name: all settings of the section `augment` but the normalisation.
pub const AUGMENTATIONS: [(&str, &str); 3] = [
    ("official", include_str!("presets/augment/official.toml")),
    ("symmetric", include_str!("presets/augment/symmetric.toml")),
    ("asymmetric", include_str!("presets/augment/asymmetric.toml")),
];

/// The settings of the augmentation called `name`.
///
/// # Errors
/// `Usage` if there is none of that name; the message lists the known ones.
pub(super) fn augmentation(name: &str) -> Result<Table> {
    let found = AUGMENTATIONS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| parse(text)).ok_or_else(|| {
        let known = AUGMENTATIONS.map(|(name, _)| name).join(", ");
        Error::usage("--augment", format!("{name:?} is none of {known}"))
    })
}

impl Preset {
    /// The preset called `name`.
    ///
    /// # Errors
    /// `Usage` if there is none of that name; the message lists the known ones.
    pub fn find(name: &str) -> Result<Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name).ok_or_else(|| {
            let known = PRESETS.map(|preset| preset.name).join(", ");
            Error::usage("--preset", format!("{name:?} is none of {known}"))
        })
    }

    /// What the preset is for: the first line of its file.
    pub fn summary(&self) -> &'static str {
        self.base.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// The settings for a method, with or without the mask.
    pub(super) fn table(&self, method: Method, masked: bool) -> Table {
        let mut table = parse(self.base);
        let mut own = parse(self.file(method));
        let plain = own.remove("plain");
        merge(&mut table, own);
        if let (false, Some(Value::Table(plain))) = (masked, plain) {
            merge(&mut table, plain);
        }
        table.insert("method".into(), method.key().into());
        if let Some(Value::Table(mask)) = table.get_mut("mask") {
            mask.insert("enabled".into(), masked.into());
        }
        table
    }

    /// The method's file, with the sources of its settings.
    pub fn file(&self, method: Method) -> &'static str {
        let found = self.methods.iter().find(|(known, _)| *known == method);
        found.expect("every method has a file").1
    }
}

fn parse(text: &str) -> Table {
    text.parse().expect("presets are checked by a test")
}

/// Puts the settings of `over` in the place of those in `table`.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
