//! Reads `{"algorithm": …, "claims": {…}, "key": "secret or private key in PEM"}` and prints a token that josekit signed.

use josekit::jwk::Jwk;
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::{
    ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, JwsHeader, JwsSigner, PS256, PS384, PS512, RS256, RS384, RS512,
};
use josekit::jwt::{self, JwtPayload};
use serde_json::{Map, Value};

type Fault = Box<dyn std::error::Error>;

fn signer(algorithm: &str, key: &str) -> Result<Box<dyn JwsSigner>, Fault> {
    Ok(match algorithm {
        "HS256" => Box::new(HS256.signer_from_bytes(key)?),
        "HS384" => Box::new(HS384.signer_from_bytes(key)?),
        "HS512" => Box::new(HS512.signer_from_bytes(key)?),
        "RS256" => Box::new(RS256.signer_from_pem(key)?),
        "RS384" => Box::new(RS384.signer_from_pem(key)?),
        "RS512" => Box::new(RS512.signer_from_pem(key)?),
        "PS256" => Box::new(PS256.signer_from_jwk(&jwk(key)?)?),
        "PS384" => Box::new(PS384.signer_from_jwk(&jwk(key)?)?),
        "PS512" => Box::new(PS512.signer_from_jwk(&jwk(key)?)?),
        "ES256" => Box::new(ES256.signer_from_pem(key)?),
        "ES384" => Box::new(ES384.signer_from_pem(key)?),
        "ES512" => Box::new(ES512.signer_from_pem(key)?),
        "EdDSA" => Box::new(EdDSA.signer_from_pem(key)?),
        other => return Err(format!("{other} is not known here").into()),
    })
}

/// An RSA key in the form that josekit takes for PS*: in PEM it wants keys that are marked for PSS alone.
fn jwk(key: &str) -> Result<Jwk, Fault> {
    Ok(RsaKeyPair::from_pem(key)?.to_jwk_private_key())
}

fn main() -> Result<(), Fault> {
    let mut asked: Map<String, Value> = serde_json::from_reader(std::io::stdin())?;
    let text =
        |asked: &Map<String, Value>, name: &str| asked.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let signer = signer(&text(&asked, "algorithm"), &text(&asked, "key"))?;
    let Some(Value::Object(claims)) = asked.remove("claims") else { return Err("claims is an object".into()) };
    let mut header = JwsHeader::new();
    header.set_token_type("JWT");
    println!("{}", jwt::encode_with_signer(&JwtPayload::from_map(claims)?, &header, &*signer)?);
    Ok(())
}
