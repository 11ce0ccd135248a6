//! Hash tables whose keys are seeded hashes already: they are not hashed again.

use std::hash::{BuildHasherDefault, Hasher};

/// For tables by a `u64` or `u128` that is a hash. Any other key hashes to nothing.
pub type Prehashed = BuildHasherDefault<AsItIs>;

#[derive(Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    #[expect(clippy::cast_possible_truncation, reason = "either half will do")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
