//! An identity provider for development: discovery, keys, tokens, introspection, rotation and faults on demand.
//!
//! For trying the gateway out, for tests, and for users' CI. It knows names and passwords from its command line, keeps
//! everything in memory and listens on loopback addresses only. Nothing of the gateway uses it; it must never issue a token
//! that anything beyond this machine is meant to trust.

mod faults;
mod grants;
mod people;
mod ring;
mod serve;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

pub use self::faults::Faults;
pub use self::people::{Client, People, User};
use self::serve::World;
use crate::jose::{Algorithm, SigningFault};

/// What a provider is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; the system picks a port for 0.
    pub listen: SocketAddr,
    /// Its identifier, when that is not `http://ADDRESS`.
    pub issuer: Option<String>,
    /// What tokens are signed with; not an HMAC.
    pub algorithm: Algorithm,
    pub people: People,
    /// How long tokens are good for.
    pub lifetime: Duration,
    /// `aud` of tokens, unless a client has its own.
    pub audience: Vec<String>,
    /// The header's `typ`: `at+jwt` (RFC 9068) or `JWT`.
    pub typ: String,
    /// Access tokens that say nothing by themselves: for introspection.
    pub opaque: bool,
    /// How often a new key takes over by itself.
    pub rotate_every: Option<Duration>,
    /// How many keys that no longer sign are still published.
    pub keep: usize,
    /// Whether the next key is published before it signs.
    pub ahead: bool,
    /// `max-age` of the key set.
    pub max_age: Option<Duration>,
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            issuer: None,
            algorithm: Algorithm::Rs256,
            people: People::default(),
            lifetime: Duration::from_secs(300),
            audience: Vec::new(),
            typ: "at+jwt".into(),
            opaque: false,
            rotate_every: None,
            keep: 2,
            ahead: false,
            max_age: None,
            faults: Faults::default(),
        }
    }
}

/// Why a provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0} is not a loopback address: this provider is for development, on one machine")]
    NotLoopback(SocketAddr),
    #[error("{0} cannot be listened on: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("{0} cannot sign tokens of a provider: RS, PS, ES algorithms and EdDSA can")]
    Algorithm(&'static str),
    #[error("no key could be made: {0}")]
    Key(#[from] SigningFault),
}

/// A running provider; it ends when this is dropped.
pub struct Idp {
    address: SocketAddr,
    world: Arc<World>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Idp {
    /// Starts a provider on the current runtime.
    ///
    /// # Errors
    /// When the address is beyond loopback or taken, or no key can be made.
    pub fn start(options: Options) -> Result<Self, Refused> {
        if !options.listen.ip().is_loopback() {
            return Err(Refused::NotLoopback(options.listen));
        }
        if options.algorithm.is_hmac() {
            return Err(Refused::Algorithm(options.algorithm.name()));
        }
        let bind = || -> io::Result<(SocketAddr, tokio::net::TcpListener)> {
            let listener = TcpListener::bind(options.listen)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, tokio::net::TcpListener::from_std(listener)?))
        };
        let (address, listener) = bind().map_err(|fault| Refused::Listen(options.listen, fault))?;
        let every = options.rotate_every;
        let world = Arc::new(World::new(address, options)?);
        let router = serve::router(world.clone());
        let mut tasks = vec![tokio::spawn(async move {
            if let Err(fault) = axum::serve(listener, router).await {
                tracing::error!(%fault, "the provider stopped serving");
            }
        })];
        if let Some(every) = every {
            let world = world.clone();
            tasks.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    match world.rotate() {
                        Ok(kid) => tracing::info!(kid, "a new key signs"),
                        Err(fault) => tracing::error!(%fault, "no new key"),
                    }
                }
            }));
        }
        Ok(Self { address, world, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn issuer(&self) -> &str {
        &self.world.issuer
    }

    /// Lets a new key sign from now on; yields its id.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&self) -> Result<String, SigningFault> {
        self.world.rotate()
    }

    /// Replaces the faults.
    pub fn misbehave(&self, faults: Faults) {
        *self.world.faults.write() = faults;
    }

    /// How often an endpoint was asked: `discovery`, `jwks`, `token`, `introspect`, `revoke`, `userinfo`.
    pub fn count(&self, endpoint: &str) -> u64 {
        self.world.counts.lock().get(endpoint).copied().unwrap_or(0)
    }

    /// An access token with these claims beside the usual ones, without asking the token endpoint.
    ///
    /// # Errors
    /// When signing fails.
    pub fn token(&self, subject: &str, claims: &Map<String, Value>) -> Result<String, SigningFault> {
        let mut all = claims.clone();
        all.insert("sub".into(), json!(subject));
        self.world.issue(all, false, self.world.options.lifetime).map(|issued| issued.token)
    }

    /// Waits until the provider ends, which it does not by itself.
    pub async fn ended(mut self) {
        if let Some(server) = self.tasks.first_mut() {
            let _ended = server.await;
        }
    }
}
