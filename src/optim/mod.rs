//! Update rules as pure functions of parameters, gradients and state.
