//! One seed, many named independent streams.
//!
//! A draw is addressed, not taken in turn: the generator for image 17 in epoch 3 depends on the
//! seed, the stream's name and those numbers only, never on who drew before or on which thread.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A named stream of random numbers under one seed.
///
/// ChaCha's output is fixed by its definition, so the numbers never change with a library version.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u64; 2],
}

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Stream {
        // FNV-1a: a fixed, documented hash, because the standard library's may change.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Stream { key: [seed, hash] }
    }

    /// The generator addressed by `indices`, for example `[epoch, image, view]`.
    pub fn at(&self, indices: &[u64]) -> ChaCha8Rng {
        let mut key = [self.key[0], self.key[1], 0x6469_6d61_736b, indices.len() as u64];
        for &index in indices {
            // SplitMix64's finaliser over a running state: every index reaches every bit of the
            // key.
            key[2] = mix(key[2] ^ index);
            key[3] = mix(key[3].wrapping_add(key[2]));
        }
        let mut seed = [0u8; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(key) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_draw_depends_on_seed_name_and_address_only() {
        let draw = |seed, name, at: &[u64]| Stream::new(seed, name).at(at).random::<u64>();
        assert_eq!(draw(1, "augment", &[0, 5, 1]), draw(1, "augment", &[0, 5, 1]));
        let others = [
            draw(2, "augment", &[0, 5, 1]),
            draw(1, "init", &[0, 5, 1]),
            draw(1, "augment", &[5, 0, 1]),
            draw(1, "augment", &[0, 5]),
            draw(1, "augment", &[0, 5, 0]),
        ];
        assert!(others.iter().all(|&x| x != draw(1, "augment", &[0, 5, 1])));
    }
}
