//! The fingerprint of ROCA keys (CVE-2017-15361): RSA moduli of a smartcard library whose primes are `k*M + (65537^a
//! mod M)`, and so can be factored. Such a modulus is a power of 65537 modulo every small prime; another one is so by
//! chance once in 2^150.

const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus (big-endian) carries the fingerprint.
pub fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| is_power_of_65537(remainder(modulus, prime), prime))
}

fn remainder(number: &[u8], divisor: u32) -> u32 {
    number.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % divisor)
}

fn is_power_of_65537(wanted: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == wanted {
            return true;
        }
        power = power * (65537 % prime) % prime;
    }
    false
}
