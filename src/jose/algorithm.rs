//! The signature algorithms of RFC 7518 and RFC 8037 that Kong's jwt plugin knows.

use serde::{Deserialize, Serialize};

macro_rules! algorithms {
    ($($name:ident = $text:literal,)*) => {
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
        }
    };
}

algorithms! {
    Hs256 = "HS256",
    Hs384 = "HS384",
    Hs512 = "HS512",
    Rs256 = "RS256",
    Rs384 = "RS384",
    Rs512 = "RS512",
    Es256 = "ES256",
    Es384 = "ES384",
    Es512 = "ES512",
    Ps256 = "PS256",
    Ps384 = "PS384",
    Ps512 = "PS512",
    EdDsa = "EdDSA",
}
