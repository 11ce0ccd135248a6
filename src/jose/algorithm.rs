//! The signature algorithms of RFC 7518 and RFC 8037 that Kong's jwt plugin knows.

use serde::{Deserialize, Serialize};

/// What kind of key an algorithm takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Hmac,
    /// PKCS#1 v1.5 signatures.
    Rsa,
    /// PSS signatures.
    RsaPss,
    Ecdsa,
    EdDsa,
}

macro_rules! algorithms {
    ($($name:ident = $text:literal $family:ident,)*) => {
        /// A JWS signature algorithm. There is no `none`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Algorithm {
            $(#[serde(rename = $text)] $name,)*
        }

        impl Algorithm {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The `alg` value.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Exactly the `alg` value, case included.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }

            pub const fn family(self) -> Family {
                match self {
                    $(Self::$name => Family::$family,)*
                }
            }

            /// Whether one secret both signs and verifies.
            pub const fn is_hmac(self) -> bool {
                matches!(self.family(), Family::Hmac)
            }
        }
    };
}

algorithms! {
    Hs256 = "HS256" Hmac,
    Hs384 = "HS384" Hmac,
    Hs512 = "HS512" Hmac,
    Rs256 = "RS256" Rsa,
    Rs384 = "RS384" Rsa,
    Rs512 = "RS512" Rsa,
    Es256 = "ES256" Ecdsa,
    Es384 = "ES384" Ecdsa,
    Es512 = "ES512" Ecdsa,
    Ps256 = "PS256" RsaPss,
    Ps384 = "PS384" RsaPss,
    Ps512 = "PS512" RsaPss,
    EdDsa = "EdDSA" EdDsa,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
