//! Tests of the augmentations.
