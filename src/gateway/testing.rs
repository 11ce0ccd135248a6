//! A gateway in the test's own process, on ports the system picks: for black-box tests and replays.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use tokio::sync::watch;

use super::{Clock, Gateway, Options, Parts};
use crate::declarative;
use crate::diagnostic::Diagnostic;
use crate::entity::Dataset;
use crate::plugins::Registries;
use crate::snapshot::{Origin, Published, Resources, Snapshot};
use crate::store::tokens::LocalTokens;
use crate::telemetry::{AccessLog, Metrics};
use crate::upstream::Registry;

/// How a [`Proxy`] is set up.
pub struct Setup {
    pub options: Options,
    pub clock: Clock,
    pub access_log: Arc<AccessLog>,
    /// Whether HTTP/2 with prior knowledge is spoken as well. Pingora then waits for 24 bytes before it reads a request.
    pub h2c: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { options: Options::default(), clock: Clock::System, access_log: Arc::new(AccessLog::off()), h2c: false }
    }
}

/// A running gateway. It ends when this is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    pub published: Arc<Published>,
    pub metrics: Arc<Metrics>,
    resources: Resources,
    stop: watch::Sender<bool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nobody is left to be told when the service has ended by itself.
        let _ = self.stop.send(true);
    }
}

impl Proxy {
    /// Starts a gateway that knows nothing yet, on the current Tokio runtime.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let resources = Resources {
            registries: Registries::new(Arc::new(LocalTokens::in_memory())),
            upstreams: Arc::new(Registry::default()),
            metrics: Arc::new(Metrics::new(false)),
        };
        let published = Arc::new(Published::default());
        let gateway = Gateway::new(Parts {
            published: published.clone(),
            metrics: resources.metrics.clone(),
            access_log: setup.access_log,
            options: setup.options,
            clock: setup.clock,
        });
        let mut proxy = gateway.proxy(ServerConf::default());
        let mut server_options = HttpServerOptions::default();
        server_options.h2c = setup.h2c;
        proxy.server_options = Some(server_options);

        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut fds = Fds::new();
        fds.add(address.to_string(), listener.into_raw_fd());
        let fds: ListenFds = Arc::new(parking_lot::Mutex::new(fds));
        let mut service = Service::new("proxy".to_owned(), proxy);
        service.add_tcp(&address.to_string());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { service.start_service(Some(fds), stopped, 1).await });
        let upstreams = resources.upstreams.clone();
        let mut ended = stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = upstreams.run() => {}
                _ = ended.changed() => {}
            }
        });
        let metrics = resources.metrics.clone();
        Ok(Self { address, published, metrics, resources, stop })
    }

    /// Starts a gateway with a declarative configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn with(config: &str, setup: Setup) -> Result<Self, Vec<Diagnostic>> {
        let proxy = Self::start(setup).map_err(|fault| vec![Diagnostic::error("listen", "", fault.to_string())])?;
        proxy.load(config)?;
        Ok(proxy)
    }

    /// Puts a declarative configuration in place of the current one.
    ///
    /// # Errors
    /// What is wrong with it; the current one stays.
    pub fn load(&self, config: &str) -> Result<(), Vec<Diagnostic>> {
        let loaded = declarative::load_text("kong.yml", config, &declarative::Options::default());
        self.publish(loaded.map_err(|refused| refused.diagnostics)?.dataset)
    }

    /// Puts a dataset in place of the current one.
    ///
    /// # Errors
    /// What is wrong with it; the current one stays.
    pub fn publish(&self, dataset: Dataset) -> Result<(), Vec<Diagnostic>> {
        let (snapshot, _) = Snapshot::compile(dataset, Origin::none(), &self.resources)?;
        self.resources.upstreams.settle(Duration::from_secs(5));
        self.published.store(snapshot);
        Ok(())
    }
}
