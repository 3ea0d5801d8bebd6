//! The self-supervised losses: pure functions of projections.
