//! The `dimask` program.

fn main() {}
