//! The graph: reverse and forward mode of any order over one closed set of operations.
