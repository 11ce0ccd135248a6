//! The built program as a process: how it starts, reloads, hands over and ends, and what it does with clients before they have
//! made a request.

#[path = "process/clients.rs"]
mod clients;
#[path = "process/finish.rs"]
mod finish;
#[path = "process/protocols.rs"]
mod protocols;
#[path = "process/reload.rs"]
mod reload;
#[path = "process/start.rs"]
mod start;
#[path = "process/support.rs"]
mod support;
#[path = "process/upgrade.rs"]
mod upgrade;
