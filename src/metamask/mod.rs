//! The method: a dimensional mask and its gradient through a training step.
