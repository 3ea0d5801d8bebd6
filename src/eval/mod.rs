//! Judging features: nearest neighbours, linear probes, statistics.
