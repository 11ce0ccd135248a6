//! Listening sockets: bound before anything is served, or taken over from systemd or from the process before.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::listen::{Address, Listen};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// What is served on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Proxy,
    Admin,
    Console,
    Status,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Admin => "admin",
            Self::Console => "admin_gui",
            Self::Status => "status",
        }
    }

    /// Permissions of a unix socket: a proxy's is for everyone, as nginx makes it; the others are not.
    fn mode(self) -> u32 {
        match self {
            Self::Proxy => 0o666,
            Self::Admin | Self::Console | Self::Status => 0o660,
        }
    }
}

/// One item of a listen setting with its sockets: one, or with `reuseport` one for each worker.
#[derive(Debug)]
pub struct Bound {
    pub role: Role,
    pub listen: Listen,
    /// Which of the items with this address it is: port 0 may stand in a setting several times.
    nth: usize,
    pub listeners: Vec<Listener>,
    /// Where it really listens: with the port that the system picked.
    pub local: Address,
}

impl Bound {
    /// By what a successor process recognises the sockets: the setting, not the port behind a 0.
    pub fn key(&self) -> String {
        key(self.role, &self.listen, self.nth)
    }
}

fn key(role: Role, listen: &Listen, nth: usize) -> String {
    match nth {
        0 => format!("{} {}", role.name(), listen.address),
        _ => format!("{} {} #{nth}", role.name(), listen.address),
    }
}

/// Sockets that another process opened: systemd, or the process before this one.
#[derive(Debug, Default)]
pub struct Inherited {
    /// From the process before, by [`Bound::key`].
    pub keyed: Vec<(String, OwnedFd)>,
    /// From systemd, by address.
    activated: Vec<(Address, Listener)>,
}

impl Inherited {
    /// Those that systemd passed (socket activation, `LISTEN_FDS`).
    pub fn from_systemd() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let mut activated = Vec::new();
        for index in 0..passed.len() {
            let listener = match passed.take_tcp_listener(index) {
                Ok(Some(listener)) => Some(Listener::Tcp(listener)),
                _ => passed.take_unix_listener(index).ok().flatten().map(Listener::Unix),
            };
            match listener.and_then(|listener| Some((local_address(&listener)?, listener))) {
                Some(found) => activated.push(found),
                None => tracing::warn!(index, "systemd passed a socket that is not a listening stream socket"),
            }
        }
        Self { keyed: Vec::new(), activated }
    }

    fn take(&mut self, role: Role, listen: &Listen, nth: usize) -> Vec<Listener> {
        let wanted = key(role, listen, nth);
        let mut found = Vec::new();
        for (name, fd) in std::mem::take(&mut self.keyed) {
            if name != wanted {
                self.keyed.push((name, fd));
                continue;
            }
            found.push(match listen.address {
                Address::Tcp(_) => Listener::Tcp(fd.into()),
                Address::Unix(_) => Listener::Unix(fd.into()),
            });
        }
        if let Some(index) = self.activated.iter().position(|(address, _)| *address == listen.address) {
            found.push(self.activated.swap_remove(index).1);
        }
        found
    }

    /// Names of what nobody asked for; closed with this value.
    pub fn left(&self) -> Vec<String> {
        let keyed = self.keyed.iter().map(|(name, _)| name.clone());
        keyed.chain(self.activated.iter().map(|(address, _)| address.to_string())).collect()
    }
}

fn local_address(listener: &Listener) -> Option<Address> {
    match listener {
        Listener::Tcp(listener) => listener.local_addr().ok().map(Address::Tcp),
        Listener::Unix(listener) => Some(Address::Unix(listener.local_addr().ok()?.as_pathname()?.into())),
    }
}

/// Takes over or binds the sockets of one listen item; with `reuseport`, `workers` of them. `nth` counts the items before it in its
/// setting that have the same address.
///
/// # Errors
/// A message that names the address and says what is wrong.
pub fn open(
    role: Role,
    listen: &Listen,
    nth: usize,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<Bound, String> {
    let fail = |error: io::Error| describe(role, listen, &error);
    let mut listeners = inherited.take(role, listen, nth);
    if listeners.is_empty() {
        let count = if listen.reuseport { workers.max(1) } else { 1 };
        let mut listen = listen.clone();
        for _ in 0..count {
            let listener = bind(role, &listen).map_err(fail)?;
            // A port that the system picked is the same for all sockets of the item.
            if let Some(local) = local_address(&listener) {
                listen.address = local;
            }
            listeners.push(listener);
        }
    }
    for listener in &listeners {
        match listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener) => listener.set_nonblocking(true),
        }
        .map_err(fail)?;
    }
    let local = listeners.first().and_then(local_address).unwrap_or_else(|| listen.address.clone());
    Ok(Bound { role, listen: listen.clone(), nth, listeners, local })
}

fn describe(role: Role, listen: &Listen, error: &io::Error) -> String {
    let address = &listen.address;
    let setting = format!("{}_listen", role.name());
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another process; stop it, or change {setting}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address} may not be listened on: {error}; ports below 1024 need CAP_NET_BIND_SERVICE")
        }
        io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine ({setting})"),
        _ => format!("{address} cannot be listened on: {error} ({setting})"),
    }
}

fn bind(role: Role, listen: &Listen) -> io::Result<Listener> {
    match &listen.address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            // A restart must not wait for the last connections to time out.
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(listen.reuseport)?;
            if address.is_ipv6() {
                // As nginx: `[::]:80` leaves IPv4 to an item of its own.
                socket.set_only_v6(true)?;
            }
            socket.bind(&(*address).into())?;
            socket.listen(listen.backlog)?;
            Ok(Listener::Tcp(socket.into()))
        }
        Address::Unix(path) => {
            remove_stale(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(role.mode()))?;
            socket.listen(listen.backlog)?;
            Ok(Listener::Unix(socket.into()))
        }
    }
}

/// Takes a unix socket away that nobody listens on any more.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name that is not a socket"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => std::fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::listen;

    fn one(text: &str) -> Listen {
        listen::parse(text).unwrap().remove(0)
    }

    #[test]
    fn a_port_in_use_is_said_and_a_free_one_is_told() {
        let none = &mut Inherited::default();
        let first = open(Role::Proxy, &one("127.0.0.1:0"), 0, 1, none).unwrap();
        let Address::Tcp(local) = first.local else { panic!("not TCP") };
        assert_ne!(local.port(), 0);
        let said = open(Role::Proxy, &one(&local.to_string()), 0, 1, none).unwrap_err();
        assert!(said.contains("in use") && said.contains("proxy_listen"), "{said}");
    }

    #[test]
    fn reuseport_makes_a_socket_for_each_worker_on_one_port() {
        let bound = open(Role::Proxy, &one("127.0.0.1:0 reuseport"), 0, 3, &mut Inherited::default()).unwrap();
        let locals: Vec<_> = bound.listeners.iter().filter_map(local_address).collect();
        assert_eq!(locals.len(), 3);
        assert!(locals.iter().all(|local| *local == bound.local));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listen = one(&format!("unix:{}", path.display()));
        let first = open(Role::Admin, &listen, 0, 1, &mut Inherited::default()).unwrap();
        assert!(open(Role::Admin, &listen, 0, 1, &mut Inherited::default()).is_err());
        drop(first);
        let second = open(Role::Admin, &listen, 0, 1, &mut Inherited::default()).unwrap();
        assert_eq!(second.local, listen.address);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(open(Role::Admin, &listen, 0, 1, &mut Inherited::default()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn inherited_sockets_are_recognised_by_their_setting() {
        let listen = one("127.0.0.1:0");
        let bound = open(Role::Proxy, &listen, 0, 1, &mut Inherited::default()).unwrap();
        let fd = bound.listeners[0].as_fd().try_clone_to_owned().unwrap();
        let other = bound.listeners[0].as_fd().try_clone_to_owned().unwrap();
        let keyed = vec![(bound.key(), fd), ("proxy 127.0.0.1:1".to_owned(), other)];
        let mut inherited = Inherited { keyed, ..Inherited::default() };
        let taken = open(Role::Proxy, &listen, 0, 1, &mut inherited).unwrap();
        assert_eq!(taken.local, bound.local);
        assert_eq!(inherited.left(), ["proxy 127.0.0.1:1"]);
    }
}
