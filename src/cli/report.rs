//! Results as people read them: the table of a run, the plan of a dry one.

use std::path::Path;

use super::output::table;
use crate::config::RunConfig;
use crate::eval::Scores;
use crate::train::estimate::Estimate;
use crate::train::evaluate::Judgement;
use crate::train::folder::RunFolder;
use crate::train::images::Images;
use crate::train::metrics::Summary;

/// What a run trains, in words: the method, and in brackets what is not as usual.
pub(super) fn method(config: &RunConfig) -> String {
    config.title()
