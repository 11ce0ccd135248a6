//! Handing the listening sockets from an old process to a new one.
//!
//! The new process (`run --upgrade`) waits at `upgrade_sock` until the old one is told (SIGQUIT) to connect. The old process sends
//! one message for each socket, with its name and its descriptor, and goes on serving until the new one, serving as well, says so;
//! only then does it stop accepting. Connections wait in queues that both share: none is refused, none reset. A new process that dies
//! half-way costs nothing: the old one goes on.
//!
//! Pingora's own hand-over stops the old process after five seconds whatever became of the new one, and knows 32 sockets at most.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with,
};

/// How long the old process looks for a new one before it takes SIGQUIT for an order to finish.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_STEP: Duration = Duration::from_millis(50);

/// Longest name of a socket: a role and a listen address.
const MAX_NAME: usize = 512;

/// After the last socket.
const END: &[u8] = b"end";
/// From the new process, once it serves.
const SERVING: &[u8] = b"serving";

/// Why no sockets were handed over.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("no new process waits at the upgrade socket")]
    Nobody,
    #[error("the new process did not take over: {0}")]
    Failed(#[from] io::Error),
}

/// Messages keep their bounds, and each carries at most one descriptor.
fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn send(to: &impl AsFd, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|fd| [fd]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(to, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(from: &impl AsFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; MAX_NAME];
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            descriptor = fds.next();
        }
    }
    Ok((bytes.get(..got).unwrap_or_default().to_vec(), descriptor))
}

/// Only processes of the same user (or root) are talked to: the other side gets, or gives, the listening sockets.
fn check_peer(connection: &OwnedFd) -> io::Result<()> {
    let other = socket_peercred(connection)?.uid;
    if other == rustix::process::geteuid() || other.is_root() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the other process belongs to another user"))
    }
}

/// Gives the sockets to a new process and returns once it serves. Blocks.
///
/// # Errors
/// When there is none, or it did not come to serve; the sockets are the caller's as before.
pub fn hand_over(path: &Path, sockets: &[(String, OwnedFd)], patience: Duration) -> Result<(), Refused> {
    let connection = find(path)?;
    check_peer(&connection)?;
    set_socket_timeout(&connection, Timeout::Recv, Some(patience)).map_err(io::Error::from)?;
    set_socket_timeout(&connection, Timeout::Send, Some(patience)).map_err(io::Error::from)?;
    for (name, descriptor) in sockets {
        send(&connection, name.as_bytes(), Some(descriptor.as_fd()))?;
    }
    send(&connection, END, None)?;
    match receive(&connection)? {
        (message, _) if message == SERVING => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unexpected answer").into()),
    }
}

fn find(path: &Path) -> Result<OwnedFd, Refused> {
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    let start = Instant::now();
    loop {
        let socket = socket()?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) if start.elapsed() < LOOK => {
                std::thread::sleep(LOOK_STEP);
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => return Err(Refused::Nobody),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// A new process that waits for sockets.
#[derive(Debug)]
pub struct Successor {
    socket: OwnedFd,
    path: PathBuf,
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Its absence tells the old process that nobody waits.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The old process, waiting to hear that the new one serves.
#[derive(Debug)]
pub struct Predecessor(OwnedFd);

impl Successor {
    /// Makes the upgrade socket; from now on an old process that gets SIGQUIT finds this one.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn announce(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket()?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listen(&socket, 1)?;
        Ok(Self { socket, path: path.into() })
    }

    /// Waits for the old process's sockets, by their names. Blocks.
    ///
    /// # Errors
    /// When none came within `patience`, or what came is not understood.
    pub fn receive(self, patience: Duration) -> io::Result<(Vec<(String, OwnedFd)>, Predecessor)> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        let connection = accept_with(&self.socket, SocketFlags::CLOEXEC)?;
        check_peer(&connection)?;
        set_socket_timeout(&connection, Timeout::Recv, Some(patience))?;
        let mut sockets = Vec::new();
        loop {
            let (name, descriptor) = receive(&connection)?;
            match descriptor {
                Some(descriptor) => {
                    let name = String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?;
                    sockets.push((name, descriptor));
                }
                None if name == END => return Ok((sockets, Predecessor(connection))),
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

impl Predecessor {
    /// Tells the old process that it may finish.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn serving(self) -> io::Result<()> {
        send(&self.0, SERVING, None)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn sockets_and_names_arrive_and_the_answer_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        let listeners: Vec<TcpListener> = (0..40).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let sockets: Vec<(String, OwnedFd)> = listeners
            .iter()
            .map(|listener| {
                let name = format!("proxy {}", listener.local_addr().unwrap());
                (name, listener.as_fd().try_clone_to_owned().unwrap())
            })
            .collect();
        std::thread::scope(|scope| {
            let old = scope.spawn(|| hand_over(&path, &sockets, PATIENCE));
            let new = Successor::announce(&path).unwrap();
            let (received, predecessor) = new.receive(PATIENCE).unwrap();
            assert_eq!(received.len(), 40);
            for (name, descriptor) in received {
                let listener = TcpListener::from(descriptor);
                assert_eq!(name, format!("proxy {}", listener.local_addr().unwrap()));
            }
            predecessor.serving().unwrap();
            old.join().unwrap().unwrap();
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_new_process_that_dies_is_noticed_and_so_is_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        std::thread::scope(|scope| {
            let old = scope.spawn(|| hand_over(&path, &[], PATIENCE));
            let new = Successor::announce(&path).unwrap();
            drop(new.receive(PATIENCE).unwrap());
            assert!(matches!(old.join().unwrap(), Err(Refused::Failed(_))));
        });
        assert!(matches!(hand_over(&path, &[], PATIENCE), Err(Refused::Nobody)));
        let lonely = Successor::announce(&path).unwrap();
        assert!(lonely.receive(Duration::from_millis(50)).is_err());
    }
}
