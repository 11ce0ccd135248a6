//! The listening sockets of the process: opened, and served by what their setting says.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Failure, Process};
use crate::admin;
use crate::console;
use crate::runtime::listen::Listen;
use crate::runtime::options::admin_options;
use crate::runtime::server::Endpoint;
use crate::runtime::settings::Settings;
use crate::runtime::sockets::{Bound, Inherited, Listener, Role, open};
use crate::runtime::{status, tls};

/// Opens every socket of the settings.
pub(super) fn bind(settings: &Settings, workers: usize, inherited: &mut Inherited) -> Result<Vec<Bound>, Failure> {
    let roles = [
        (Role::Proxy, &settings.proxy_listen),
        (Role::Admin, &settings.admin_listen),
        (Role::Console, &settings.admin_gui_listen),
        (Role::Status, &settings.status_listen),
    ];
    let (mut bound, mut faults) = (Vec::new(), Vec::new());
    for (role, listens) in roles {
        for (index, listen) in listens.iter().enumerate() {
            let nth = listens.iter().take(index).filter(|before| before.address == listen.address).count();
            match open(role, listen, nth, if role == Role::Proxy { workers } else { 1 }, inherited) {
                Ok(sockets) => bound.push(sockets),
                Err(fault) if role == Role::Console && settings.is_console_at_default() => {
                    // What only some people want must not keep the gateway from its work.
                    tracing::warn!("there is no console: {fault}");
                }
                Err(fault) => faults.push(fault),
            }
        }
    }
    if faults.is_empty() { Ok(bound) } else { Err(faults) }
}

impl Process {
    /// Starts to serve on the sockets of one listen item.
    pub(super) fn listen(
        &self,
        bound: Bound,
        workers: &Handle,
        admin: &axum::Router,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let Bound { role, listen, listeners, local, .. } = bound;
        tracing::info!("{} listens on {}", role.name(), Listen { address: local, ..listen.clone() });
        let fault =
            |error: &dyn std::fmt::Display| vec![format!("{} ({}_listen): {error}", listen.address, role.name())];
        let tls = match (listen.ssl, role) {
            (true, Role::Admin | Role::Console) => {
                Some(tls::admin_config(&self.settings, self.resolver.clone()).map_err(|error| fault(&error))?)
            }
            (true, Role::Proxy | Role::Status) => {
                let protocols = self.settings.ssl_protocols;
                Some(
                    tls::server_config(protocols, self.resolver.clone(), listen.http2)
                        .map_err(|error| fault(&error))?,
                )
            }
            (false, _) => None,
        };
        match role {
            Role::Proxy => {
                let tls = match tls {
                    Some(config) => {
                        Some(Arc::new(tls::acceptor(config, self.resolver.clone()).map_err(|error| fault(&error))?))
                    }
                    None => None,
                };
                let endpoint = Arc::new(Endpoint { listen, tls });
                for listener in listeners {
                    let (server, endpoint, shared) = (self.server.clone(), endpoint.clone(), self.shared.subscribe());
                    workers.spawn(async move {
                        let address = endpoint.listen.address.clone();
                        if let Err(error) = server.accept(listener, endpoint, shared).await {
                            tracing::error!(%error, "{address} cannot be served");
                        }
                    });
                }
            }
            Role::Status | Role::Admin | Role::Console => {
                let router = match role {
                    Role::Admin => admin.clone(),
                    Role::Console => console::router(admin_options(&self.settings), admin.clone()),
                    _ => status::router(self.status.clone()),
                };
                let opened: Vec<admin::Listener> = listeners
                    .into_iter()
                    .map(|listener| admin_listener(listener, tls.clone()))
                    .collect::<std::io::Result<_>>()
                    .map_err(|error| fault(&error))?;
                let guarded =
                    self.settings.admin_token.is_some() || listen.ssl && self.settings.admin_ssl_client_ca.is_some();
                if role != Role::Status && !guarded && !opened.iter().all(admin::Listener::is_local) {
                    let message = "would let everybody who reaches it change everything: set admin_token, or ssl and \
                                   admin_ssl_client_ca, or listen on 127.0.0.1";
                    return Err(fault(&message));
                }
                let stopping = stopping.clone();
                tokio::spawn(async move {
                    if let Err(error) = admin::serve(opened, router, stopping).await {
                        tracing::error!(%error, "the {} listener ended", role.name());
                    }
                });
            }
        }
        Ok(())
    }
}

fn admin_listener(listener: Listener, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<admin::Listener> {
    Ok(match (listener, tls) {
        (Listener::Tcp(listener), tls) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            match tls {
                Some(config) => admin::Listener::Tls(listener, config),
                None => admin::Listener::Tcp(listener),
            }
        }
        (Listener::Unix(listener), None) => admin::Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
        (Listener::Unix(_), Some(_)) => return Err(std::io::Error::other("ssl is for ports, not for unix sockets")),
    })
}
