//! The integration tests: one binary, so that everything links once and shares its helpers.

mod support;

#[cfg(feature = "cli")]
mod oracle;
