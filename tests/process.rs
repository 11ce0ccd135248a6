//! The built program as a process: how it starts, reloads, hands over and ends, and what it does with clients before they have
//! made a request.

#[path = "support/answer.rs"]
mod answer;
#[path = "process/clients.rs"]
mod clients;
#[path = "process/finish.rs"]
mod finish;
#[path = "support/http.rs"]
#[allow(dead_code, reason = "other suites look at more of it")]
mod http;
#[path = "process/http2.rs"]
mod http2;
#[path = "process/metrics.rs"]
mod metrics;
#[path = "process/protocols.rs"]
mod protocols;
#[path = "process/reload.rs"]
mod reload;
#[path = "process/secrets.rs"]
mod secrets;
#[path = "process/services.rs"]
mod services;
#[path = "process/start.rs"]
mod start;
#[path = "process/support.rs"]
mod support;
#[path = "process/upgrade.rs"]
mod upgrade;
