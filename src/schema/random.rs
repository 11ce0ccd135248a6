//! Generated ids and keys.
//!
//! Random bytes are drawn from the system's generator in blocks, per thread: a million credentials must not cost a system call each.

use std::cell::RefCell;

use ::uuid::{Builder, Uuid};

const BLOCK: usize = 4096;

struct Block {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static BLOCK_OF_THREAD: RefCell<Block> = const { RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK }) };
}

fn take<const N: usize>() -> [u8; N] {
    BLOCK_OF_THREAD.with_borrow_mut(|block| {
        if block.used + N > BLOCK {
            if aws_lc_rs::rand::fill(&mut block.bytes).is_err() {
                // The generator of aws-lc does not fail once the process runs; a v4 id draws from the kernel, and aborts if it cannot.
                let mut out = [0; N];
                for (byte, random) in
                    out.iter_mut().zip(std::iter::repeat_with(Uuid::new_v4).flat_map(Uuid::into_bytes))
                {
                    *byte = random;
                }
                return out;
            }
            block.used = 0;
        }
        let mut out = [0; N];
        if let Some(bytes) = block.bytes.get_mut(block.used..block.used + N) {
            out.copy_from_slice(bytes);
            // What was handed out is a key: it does not stay in the block.
            bytes.fill(0);
        }
        block.used += N;
        out
    })
}

/// A random id (version 4).
pub fn uuid() -> Uuid {
    Builder::from_random_bytes(take()).into_uuid()
}

/// The salt of a hash.
pub fn salt() -> [u8; 16] {
    take()
}

/// 32 random letters and digits: Kong's generated keys and secrets.
pub fn token() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::with_capacity(32);
    while out.len() < 32 {
        for byte in take::<40>() {
            // 248 is the largest multiple of 62: bytes above it would make some letters likelier.
            if let Some(letter) = (byte < 248).then(|| ALPHABET.get(usize::from(byte) % 62)).flatten()
                && out.len() < 32
            {
                out.push(char::from(*letter));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_values_have_their_form_and_differ() {
        let ids: HashSet<_> = (0..1000).map(|_| uuid()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
        let tokens: HashSet<_> = (0..1000).map(|_| token()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    }
}
