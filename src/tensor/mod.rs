//! N-dimensional values: no graph, no input or output.
