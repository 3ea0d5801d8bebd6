//! What a data set is, and whether it is whole: counts, checksums, what is wrong.
