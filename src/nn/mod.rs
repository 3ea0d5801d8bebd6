//! Layers as values: a struct of variables and a forward function.
