//! The life of the serving process, from its sockets to its last request.

mod listening;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_core::apps::HttpServerApp;
use pingora_core::services::background::BackgroundService;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use self::listening::bind;
use super::configuration::{Loader, Outcome};
use super::host::{prepare_prefix, raise_file_limit, read_pid, write_pid};
use super::listen::Address;
use super::options::{access_log_options, admin_options, gate, gateway_options, proxy, registries, upstream_options};
use super::server::{Deadlines, Server};
use super::settings::Settings;
use super::signals::{Order, Signals};
use super::sockets::{Bound, Inherited};
use super::status::Status;
use super::tls::{self, Resolver};
use super::tokens::Tokens;
use super::upgrade::{self, Predecessor, Refused, Successor};
use super::{Start, huge_pages, notify};
use crate::admin;
use crate::diagnostic::Diagnostic;
use crate::gateway::{self, Gateway};
use crate::snapshot::{self, Published, Resources};
use crate::store::{self, Feed, Store};
use crate::telemetry::logging::Log;
use crate::telemetry::{AccessLog, Metrics};
use crate::upstream;
use crate::{background, declarative};

/// How long idle connections may still bring a request after the drain began: closing one at the moment its client uses it loses
/// that request.
const LINGER: Duration = Duration::from_millis(500);
/// The same when a new process serves already and nothing presses.
const LINGER_AFTER_UPGRADE: Duration = Duration::from_secs(3);

/// Why a process did not start, each a line for people.
pub type Failure = Vec<String>;

/// The threads that a process runs on.
pub struct Runtimes {
    /// Requests, and nothing else.
    pub workers: Handle,
    pub worker_threads: usize,
}

/// Everything that outlives a request and that orders act upon.
struct Process {
    settings: Settings,
    log: Log,
    access_log: Arc<AccessLog>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    loader: Arc<Loader>,
    resolver: Arc<Resolver>,
    resources: Resources,
    tokens: Tokens,
    published: Arc<Published>,
    /// Follows the database, where there is one.
    feed: Option<Arc<Feed>>,
    server: Arc<Server>,
    drain: watch::Sender<bool>,
    closing: watch::Sender<bool>,
    /// True once another process accepts from the same sockets.
    shared: watch::Sender<bool>,
    /// Descriptors for the next process, by name.
    sockets: parking_lot::Mutex<Vec<(String, OwnedFd)>>,
    unix_paths: Vec<PathBuf>,
    reload: Arc<Notify>,
}

/// Starts, serves, ends.
///
/// # Errors
/// What kept it from starting.
pub async fn run(settings: Settings, mut start: Start, log: Log, runtimes: Runtimes) -> Result<(), Failure> {
    // Before anything that takes time: a signal without a handler would kill the process.
    let mut signals = Signals::new().map_err(|error| vec![format!("signals cannot be handled: {error}")])?;
    prepare_prefix(&settings);
    let files = raise_file_limit();
    let mut inherited = Inherited::from_systemd();
    let successor = match start.upgrade {
        true => Some(announce(&settings)?),
        false => None,
    };
    let mut bound = match &successor {
        // Before the configuration: a port in use is said at once.
        None => bind(&settings, runtimes.worker_threads, &mut inherited)?,
        Some(_) => Vec::new(),
    };
    let database = open_database(&settings, &mut signals).await?;
    let mut process = Process::new(settings, log, files, runtimes.worker_threads, database.as_ref())?;
    process.load_first(database, &mut signals).await?;
    let mut predecessor = None;
    if let Some(successor) = successor {
        let (sockets, old) = take_over(&process.settings, successor, &mut signals).await?;
        inherited.keyed = sockets;
        bound = bind(&process.settings, runtimes.worker_threads, &mut inherited)?;
        predecessor = Some(old);
    }
    for left in inherited.left() {
        tracing::warn!("the socket {left} was passed on, but no setting listens there; it is closed");
    }
    drop(inherited);
    let ready = Ready { predecessor, told: start.on_ready.take() };
    process.serve(bound, ready, &runtimes.workers, &mut signals).await
}

/// Who is told when requests are served.
struct Ready {
    predecessor: Option<Predecessor>,
    told: Option<Box<dyn FnOnce() + Send>>,
}

fn announce(settings: &Settings) -> Result<Successor, Failure> {
    let path = settings.upgrade_path();
    Successor::announce(&path).map_err(|error| vec![format!("{}: no upgrade socket: {error}", path.display())])
}

async fn take_over(
    settings: &Settings,
    successor: Successor,
    signals: &mut Signals,
) -> Result<(Vec<(String, OwnedFd)>, Predecessor), Failure> {
    let patience = settings.upgrade_timeout;
    tracing::info!("ready to take over; send SIGQUIT to the running process");
    let received = tokio::task::spawn_blocking(move || successor.receive(patience));
    let received = tokio::select! {
        received = received => received,
        _ = signals.stop() => return Err(vec!["stopped before the running process handed its sockets over".into()]),
    };
    match received {
        Ok(Ok(received)) => Ok(received),
        Ok(Err(error)) => Err(vec![format!("no sockets were handed over within {patience:?}: {error}")]),
        Err(error) => Err(vec![error.to_string()]),
    }
}

/// The database of the settings, where there is one.
async fn open_database(settings: &Settings, signals: &mut Signals) -> Result<Option<Store>, Failure> {
    let Some(url) = settings.database_url() else { return Ok(None) };
    let store = tokio::select! {
        store = store::open_patiently(&url) => store.map_err(|error| cannot_be_used(&error))?,
        _ = signals.stop() => return Err(vec!["stopped while the database was being opened".into()]),
    };
    tracing::info!("entities live in {}", store.location());
    Ok(Some(store))
}

fn cannot_be_used(error: &store::Error) -> Failure {
    vec![format!("the database cannot be used: {error}")]
}

impl Process {
    fn new(
        settings: Settings,
        log: Log,
        files: usize,
        workers: usize,
        database: Option<&Store>,
    ) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::new(settings.kong_latency_metrics));
        let published = Arc::new(Published::default());
        let access_log = AccessLog::start(&access_log_options(&settings), metrics.log_drops())
            .map_err(|error| vec![format!("the access log cannot be opened: {error}")])?;
        let access_log = Arc::new(access_log);
        let tokens = Tokens::open(&settings, database).map_err(|error| vec![error.to_string()])?;
        let trusted = tls::trusted(&settings)?;
        let resources = Resources {
            registries: registries(&settings, tokens.store()),
            upstreams: Arc::new(upstream::Registry::new(
                upstream_options(&settings, trusted.as_deref()),
                Arc::new(upstream::SystemResolver),
            )),
            metrics: metrics.clone(),
        };
        resources.upstreams.show_to_services(tls::client_certificate(&settings).map_err(|fault| vec![fault])?);
        // Fails only for names that are registered already.
        let _ = metrics.registry().register(Box::new(resources.registries.oidc.collector()));
        let _ = metrics.registry().register(Box::new(resources.registries.oauth2.collector()));
        if let Ok(collected) = snapshot::Collected::new(published.clone()) {
            let _ = metrics.registry().register(Box::new(collected));
        }
        let resolver = Resolver::new(published.clone(), tls::default_certificates(&settings)?);
        if settings.ssl_cert.is_empty() && settings.proxy_listen.iter().any(|listen| listen.ssl) {
            tracing::warn!("ssl_cert is not set: names without a certificate get a self-signed one, made just now");
        }
        let parts = gateway::Parts {
            published: published.clone(),
            metrics: metrics.clone(),
            access_log: access_log.clone(),
            options: gateway_options(&settings),
            clock: gateway::Clock::System,
        };
        let unread = Arc::new(gateway::Unread::new(&parts));
        let gateway = Gateway::new(parts);
        let (drain, draining) = watch::channel(false);
        let (closing, closes) = watch::channel(false);
        let server = Arc::new(Server {
            proxy: Arc::new(proxy(&settings, gateway, workers, trusted.as_deref())),
            unread,
            gate: gate(&settings, files),
            metrics: metrics.clone(),
            deadlines: Deadlines {
                handshake: settings.tls_handshake_timeout,
                header: settings.client_header_timeout,
                keepalive: settings.keepalive_timeout,
                requests: u32::try_from(settings.keepalive_requests).ok().filter(|requests| *requests > 0),
            },
            drain: draining,
            closing: closes,
        });
        let dbless = settings.database_url().is_none();
        Ok(Self {
            status: Status::new(published.clone(), metrics.clone(), dbless),
            loader: Arc::new(Loader::new(&settings, published.clone(), resources.clone())),
            resources,
            tokens,
            published,
            feed: None,
            settings,
            log,
            access_log,
            metrics,
            resolver,
            server,
            drain,
            closing,
            shared: watch::channel(false).0,
            sockets: parking_lot::Mutex::default(),
            unix_paths: Vec::new(),
            reload: Arc::new(Notify::new()),
        })
    }

    /// Loads the first configuration: from the database, or from declarative files.
    async fn load_first(&mut self, database: Option<Store>, signals: &mut Signals) -> Result<(), Failure> {
        if let Some(store) = database {
            if !self.settings.declarative_config.is_empty() || self.settings.declarative_config_string.is_some() {
                tracing::warn!(
                    "declarative files are not read, since `database` names a database: `portcullis config import` writes them into it"
                );
            }
            // How much it holds is not known.
            huge_pages::let_go();
            let feed = Feed::new(store, self.published.clone(), self.resources.clone());
            tokio::select! {
                followed = feed.follow() => followed.map_err(|error| cannot_be_used(&error))?,
                _ = signals.stop() => return Err(vec!["stopped while the database was being read".into()]),
            }
            if !feed.is_loaded() {
                return Err(vec!["what the database holds cannot be served; the log says why".into()]);
            }
            self.status.follow(feed.clone());
            self.feed = Some(feed);
            return Ok(());
        }
        let loader = self.loader.clone();
        let loaded = tokio::task::spawn_blocking(move || loader.load());
        let loaded = tokio::select! {
            loaded = loaded => loaded.map_err(|error| vec![error.to_string()])?,
            _ = signals.stop() => return Err(vec!["stopped while the configuration was being loaded".into()]),
        };
        match loaded {
            Ok(outcome) => {
                report(&outcome, "configuration loaded");
                Ok(())
            }
            Err(outcome) => Err(outcome.diagnostics.iter().map(describe).collect()),
        }
    }

    async fn serve(
        mut self,
        bound: Vec<Bound>,
        ready: Ready,
        workers: &Handle,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        self.unix_paths = bound
            .iter()
            .filter_map(|bound| match &bound.local {
                Address::Unix(path) => Some(path.clone()),
                Address::Tcp(_) => None,
            })
            .collect();
        let sockets = bound.iter().flat_map(|bound| bound.listeners.iter().map(|listener| (bound.key(), listener)));
        *self.sockets.get_mut() = sockets
            .map(|(name, listener)| Ok((name, listener.as_fd().try_clone_to_owned()?)))
            .collect::<std::io::Result<_>>()
            .map_err(|error| vec![format!("a listening socket cannot be duplicated: {error}")])?;
        let (stop, stopping) = watch::channel(false);
        let (stop_http, http_stopping) = watch::channel(false);
        let admin = admin::router(self.admin());
        for bound in bound {
            self.listen(bound, workers, &admin, &http_stopping)?;
        }
        let process = Arc::new(self);
        let upstreams = process.loader.upstreams();
        let background = stopping.clone();
        tokio::spawn(async move { upstreams.start(background).await });
        if let Some(feed) = process.feed.clone() {
            tokio::spawn(feed.run(stopping.clone()));
        }
        tokio::spawn(process.tokens.clone().run(stopping.clone()));
        tokio::spawn(sample(process.metrics.clone(), stopping.clone()));
        tokio::spawn(process.clone().reload_when_told());
        write_pid(&process.settings.pid_path());
        if let Some(old) = ready.predecessor
            && let Err(error) = old.serving()
        {
            tracing::warn!(%error, "the process before was gone before it heard that this one serves");
        }
        notify::ready();
        tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "serving");
        if let Some(tell) = ready.told {
            tell();
        }
        let graceful = process.follow_orders(signals).await;
        notify::stopping();
        if *process.shared.borrow() {
            // The new process answers there; it is the one that is asked whether it is ready.
            let _ = stop_http.send(true);
        }
        if graceful {
            process.finish(signals).await;
        }
        let _ = stop_http.send(true);
        let _ = stop.send(true);
        process.clean_up();
        Ok(())
    }

    /// What the Admin API works on.
    fn admin(&self) -> Arc<admin::State> {
        let source = match &self.feed {
            Some(feed) => admin::Source::Store(feed.clone()),
            None => {
                let options = declarative::Options {
                    ignore_unsupported: self.settings.ignore_unsupported,
                    ..declarative::Options::default()
                };
                let declared = admin::Declared::new(options, self.published.clone(), self.resources.clone());
                admin::Source::File(Arc::new(declared))
            }
        };
        admin::State::new(admin::Parts {
            options: admin_options(&self.settings),
            source,
            published: self.published.clone(),
            resources: self.resources.clone(),
            access_log: self.access_log.clone(),
            log: Some(self.log.clone()),
            configuration: self.settings.to_json(),
        })
    }

    /// Reloads until the process ends, one after the other; what is asked for meanwhile is one more.
    async fn reload_when_told(self: Arc<Self>) {
        loop {
            self.reload.notified().await;
            notify::reloading();
            let process = self.clone();
            let done = background::run("reload", move || process.reload_now()).await;
            if let Err(error) = done {
                tracing::error!(%error, "the reload failed");
            }
            notify::ready();
        }
    }

    /// Reads declarative files, default certificates and log files anew. Blocks.
    fn reload_now(&self) {
        self.reopen_logs();
        match tls::default_certificates(&self.settings) {
            // A self-signed certificate stays: clients may have been told to trust it.
            Ok(_) if self.settings.ssl_cert.is_empty() => {}
            Ok(defaults) => self.resolver.set_defaults(defaults),
            Err(faults) => {
                for fault in faults {
                    tracing::error!("reload: the default certificates stay as they were: {fault}");
                }
            }
        }
        match tls::client_certificate(&self.settings) {
            Ok(certificate) => self.resources.upstreams.show_to_services(certificate),
            Err(fault) => tracing::error!("reload: the certificate for services stays as it was: {fault}"),
        }
        if self.feed.is_some() || !self.loader.has_source() {
            tracing::info!("reload: there are no declarative files to read; the configuration stays as it is");
            return;
        }
        match self.loader.load() {
            Ok(outcome) => report(&outcome, "configuration reloaded"),
            Err(outcome) => {
                for fault in outcome.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
                    tracing::error!("reload: {}", describe(fault));
                }
                let generation = outcome.generation;
                tracing::error!(generation, took = ?outcome.took, "reload failed; the configuration before stays in use");
            }
        }
    }

    fn reopen_logs(&self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!(%error, "the log could not be opened anew; the old file stays in use");
        }
        self.access_log.reopen();
    }

    /// Follows signals until one ends the process; tells whether requests in flight are to be finished.
    async fn follow_orders(self: &Arc<Self>, signals: &mut Signals) -> bool {
        loop {
            match signals.next().await {
                Order::Reload => self.reload.notify_one(),
                Order::ReopenLogs => {
                    let process = self.clone();
                    tokio::task::spawn_blocking(move || process.reopen_logs());
                }
                Order::Finish => {
                    tracing::info!("SIGTERM: finishing");
                    return true;
                }
                Order::Stop => {
                    tracing::info!("SIGINT: stopping");
                    return false;
                }
                Order::HandOver => {
                    if self.hand_over(signals).await {
                        return true;
                    }
                }
            }
        }
    }

    /// Gives the sockets to a new process; tells whether this one is to finish.
    async fn hand_over(self: &Arc<Self>, signals: &mut Signals) -> bool {
        tracing::info!("SIGQUIT: looking for a new process to hand the sockets to");
        let process = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let (path, patience) = (process.settings.upgrade_path(), process.settings.upgrade_timeout);
            upgrade::hand_over(&path, &process.sockets.lock(), patience)
        });
        let done = tokio::select! {
            done = done => done,
            _ = signals.stop() => return true,
        };
        match done {
            Ok(Ok(())) => {
                tracing::info!("the new process serves; finishing");
                let _ = self.shared.send(true);
                true
            }
            Ok(Err(Refused::Nobody)) => {
                tracing::info!("no new process waits; finishing");
                true
            }
            Ok(Err(Refused::Failed(error))) => {
                tracing::error!(%error, "the new process did not take over; this one goes on");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the hand-over failed; this process goes on");
                false
            }
        }
    }

    /// Lets requests in flight finish, for a bounded time; a second order ends that at once.
    async fn finish(&self, signals: &mut Signals) {
        let start = Instant::now();
        let handed_over = *self.shared.borrow();
        self.status.drain();
        self.sockets.lock().clear();
        let _ = self.drain.send(true);
        let grace = self.settings.grace_period;
        let idle = async {
            // Accepting ends and what waited in the queues begins.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let linger = if handed_over { LINGER_AFTER_UPGRADE } else { LINGER };
            let mut kept = true;
            while self.metrics.connections.active() > 0 && start.elapsed() < grace {
                if kept && start.elapsed() >= linger.min(grace) {
                    // Idle connections are closed; those with a request end with its answer.
                    let _ = self.closing.send(true);
                    self.server.proxy.http_cleanup().await;
                    kept = false;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = idle => {}
            () = signals.stop() => tracing::warn!("told again; not waiting any longer"),
        }
        let cut = self.metrics.connections.active();
        if cut > 0 {
            tracing::warn!(connections = cut, "connections are cut: they did not end within the grace period");
        }
    }

    fn clean_up(&self) {
        tracing::info!("finished");
        self.access_log.flush();
        let pid_path = self.settings.pid_path();
        // A successor has written its own.
        if read_pid(&pid_path) == Some(std::process::id()) {
            let _ = std::fs::remove_file(pid_path);
        }
        if !*self.shared.borrow() {
            for path in &self.unix_paths {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Once a second, until told to stop: what the counts of minutes and of the last minutes are told from.
async fn sample(metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = second.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        metrics.sample(now.as_secs());
    }
}

/// Says what came of loading a configuration.
fn report(outcome: &Outcome, message: &str) {
    for warning in &outcome.diagnostics {
        tracing::warn!("{}", describe(warning));
    }
    tracing::info!(generation = outcome.generation, took = ?outcome.took, "{message}");
}

/// One line: place, path, message, remedy.
fn describe(diagnostic: &Diagnostic) -> String {
    match &diagnostic.excerpt {
        Some(excerpt) => format!("{diagnostic}: `{}`", excerpt.trim()),
        None => diagnostic.to_string(),
    }
}
