//! The least that a proxy on Pingora can do: plain HTTP in, plain HTTP out, one service, no hook that is not required.
//!
//! `floor LISTEN_PORT SERVICE_PORT`: what the gateway's own share of a request is measured against (`loadtest/run compare`). Pingora
//! as it comes, with the system's allocator, on one thread or `FLOOR_THREADS`. `FLOOR_DENY=1` answers 401 to everything, over kept connections. `FLOOR_CHECK=RS256`, or
//! another algorithm, checks a signature for each request, one of a few hundred in turn: what a check costs where requests are served (always the
//! same one costs less, as the processor learns which way each branch goes); `/checks` answers with the nanoseconds that checks took so far and
//! their number (in a field, `X-Checks`). Not for use.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use async_trait::async_trait;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Floor {
    service: SocketAddr,
    deny: bool,
    check: Option<Check>,
    took: AtomicU64,
    checked: AtomicU64,
}

/// How many signatures take turns.
const SIGNATURES: usize = 256;

struct Check {
    verifier: Verifier,
    /// What is signed, and its signature.
    signed: Vec<(String, Vec<u8>)>,
    next: AtomicUsize,
}

enum Verifier {
    Secret(Vec<u8>),
    Key(ParsedPublicKey),
}

/// As long as what is signed of a usual token.
fn text(number: usize) -> String {
    format!("{number:0>240}")
}

impl Check {
    fn new(algorithm: &str) -> Self {
        let random = SystemRandom::new();
        let parsed = |algorithm, key: &[u8]| ParsedPublicKey::new(algorithm, key).expect("a public key");
        type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;
        let (verifier, sign): (Verifier, Sign) = match algorithm {
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
                (Verifier::Secret(vec![7; 32]), Box::new(move |text| hmac::sign(&key, text).as_ref().to_vec()))
            }
            "RS256" => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let key =
                    AsDer::<aws_lc_rs::encoding::PublicKeyX509Der>::as_der(pair.public_key()).expect("a public key");
                let sign = move |text: &[u8]| {
                    let mut signature = vec![0; pair.public_modulus_len()];
                    pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).expect("a signature");
                    signature
                };
                (Verifier::Key(parsed(&RSA_PKCS1_2048_8192_SHA256, key.as_ref())), Box::new(sign))
            }
            "ES256" => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
                let key = parsed(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
                let sign = move |text: &[u8]| pair.sign(&random, text).expect("a signature").as_ref().to_vec();
                (Verifier::Key(key), Box::new(sign))
            }
            "EdDSA" => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                let key = parsed(&ED25519, pair.public_key().as_ref());
                (Verifier::Key(key), Box::new(move |text| pair.sign(text).as_ref().to_vec()))
            }
            other => panic!("no check of {other}"),
        };
        let signed = (0..SIGNATURES).map(text).map(|text| {
            let signature = sign(text.as_bytes());
            (text, signature)
        });
        Self { verifier, signed: signed.collect(), next: AtomicUsize::new(0) }
    }

    fn holds(&self) -> bool {
        let (text, signature) = &self.signed[self.next.fetch_add(1, Relaxed) % SIGNATURES];
        match &self.verifier {
            Verifier::Secret(secret) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes(), signature).is_ok()
            }
            Verifier::Key(key) => key.verify_sig(text.as_bytes(), signature).is_ok(),
        }
    }
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        if self.deny {
            let mut header = ResponseHeader::build(401, Some(2))?;
            header.insert_header("WWW-Authenticate", "Bearer")?;
            header.insert_header("Content-Length", "0")?;
            session.write_response_header(Box::new(header), true).await?;
        }
        let Some(check) = &self.check else { return Ok(self.deny) };
        if session.req_header().uri.path() == "/checks" {
            let mut header = ResponseHeader::build(200, Some(2))?;
            header.insert_header("X-Checks", format!("{} {}", self.took.load(Relaxed), self.checked.load(Relaxed)))?;
            header.insert_header("Content-Length", "0")?;
            session.write_response_header(Box::new(header), true).await?;
            return Ok(true);
        }
        let started = Instant::now();
        assert!(check.holds(), "a good signature");
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.took.fetch_add(took, Relaxed);
        self.checked.fetch_add(1, Relaxed);
        Ok(self.deny)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.service, false, String::new())))
    }
}

fn main() {
    let mut ports = std::env::args().skip(1).map(|port| port.parse().expect("a port"));
    let (listen, service): (u16, u16) = (ports.next().expect("LISTEN_PORT"), ports.next().expect("SERVICE_PORT"));
    let threads = std::env::var("FLOOR_THREADS").map_or(1, |threads| threads.parse().expect("FLOOR_THREADS: a number"));
    let conf = ServerConf {
        threads,
        upstream_keepalive_pool_size: 512,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let check = std::env::var("FLOOR_CHECK").ok().map(|algorithm| Check::new(&algorithm));
    let deny = std::env::var_os("FLOOR_DENY").is_some();
    let service = SocketAddr::from(([127, 0, 0, 1], service));
    let floor = Floor { service, deny, check, took: AtomicU64::new(0), checked: AtomicU64::new(0) };
    let mut proxy = http_proxy_service(&server.configuration, floor);
    proxy.add_tcp(&format!("127.0.0.1:{listen}"));
    server.add_service(proxy);
    server.run_forever();
}
