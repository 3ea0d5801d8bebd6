//! Files to images in memory.
