//! An image to two random views of it.
