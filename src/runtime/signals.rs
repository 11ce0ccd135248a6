//! Signals as orders.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGHUP: read declarative files, certificates and log files anew.
    Reload,
    /// SIGUSR1.
    ReopenLogs,
    /// SIGTERM: finish the requests in flight, then end.
    Finish,
    /// SIGINT: end.
    Stop,
    /// SIGQUIT: hand the sockets to a new process, or without one finish.
    HandOver,
}

/// The handlers, from the moment this value exists.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    user1: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// # Errors
    /// When the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.hangup.recv() => Order::Reload,
            _ = self.user1.recv() => Order::ReopenLogs,
            _ = self.terminate.recv() => Order::Finish,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.quit.recv() => Order::HandOver,
        }
    }

    /// Waits for an order to end; others are passed over.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
