//! Base64url as RFC 7515 section 2 wants it: no padding, no other character, unused bits zero.
//!
//! One value has one spelling, so a token cannot be varied without breaking its signature.

use std::mem::MaybeUninit;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64_simd::{AsOut, URL_SAFE_NO_PAD};

/// Not canonical base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64url")]
pub struct NotBase64Url;

/// Decodes.
///
/// # Errors
/// When the text is not in its one canonical form.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, NotBase64Url> {
    URL_SAFE_NO_PAD.decode_to_vec(text).map_err(|_| NotBase64Url)
}

/// How many bytes a text makes; `None` where no text is so long.
pub fn decoded_length(text: &[u8]) -> Option<usize> {
    URL_SAFE_NO_PAD.decoded_length(text).ok()
}

/// Decodes into a buffer, of which it takes [`decoded_length`].
///
/// # Errors
/// As [`decode`], or when the buffer is too small.
pub fn decode_into<'b>(text: &[u8], buffer: &'b mut [MaybeUninit<u8>]) -> Result<&'b [u8], NotBase64Url> {
    // The library panics when there is no room.
    if decoded_length(text).is_none_or(|length| buffer.len() < length) {
        return Err(NotBase64Url);
    }
    URL_SAFE_NO_PAD.decode(text, buffer.as_out()).map(|decoded| &*decoded).map_err(|_| NotBase64Url)
}

/// Encodes without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Base64url as people keep secrets in it: padded or not, unused bits of any value.
static LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes a secret kept in base64url; `None` when it has other characters, `+` and `/` included.
pub fn decode_lenient(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_a_value() {
        assert_eq!(decode("_-8").as_deref(), Ok(&[0xff, 0xef][..]));
        assert_eq!(encode([0xff, 0xef]), "_-8");
        for bad in ["_-8=", "/+8", "_-9", "_-8 ", " _-8", "_\n-8", "A", "AAAAA", "%5F-8", "_-8\0"] {
            assert_eq!(decode(bad), Err(NotBase64Url), "{bad:?}");
        }
        assert_eq!(decode("").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn secrets_may_be_padded_but_not_in_the_other_alphabet() {
        for good in ["_-8", "_-8=", "_-9"] {
            assert_eq!(decode_lenient(good).as_deref(), Some(&[0xff, 0xef][..]), "{good}");
        }
        assert_eq!(decode_lenient("/+8="), None);
        assert_eq!(decode_lenient("%%%"), None);
    }
}
