//! Portcullis: an edge proxy that authenticates every request before it reaches a service.
//!
//! A Pingora `ProxyHttp` ([`gateway`]) asks an immutable [`snapshot`] — routes, plugins, consumers, keys, compiled from Kong's
//! entities — whether a request may pass, and forwards it with a proof of who it is.
//!
//! The rooms, from the ground up; a room may use those above it in this list, never those below:
//!
//! | room | owns |
//! |---|---|
//! | [`calendar`] | dates for people and logs |
//! | [`diagnostic`] | faults and warnings about a configuration, with place and remedy |
//! | `background` | threads for work beside the requests, which give way to those that serve |
//! | `ip_text` | IP addresses as text, without an allocation |
//! | `prehashed` | tables whose keys are hashes already |
//! | [`shared_table`] | the copy-on-write index under consumers and credentials |
//! | [`jose`] | compact JWS, algorithms, prepared keys, key sets, claims |
//! | [`schema`] | the engine of the schema tables: check, defaults, Kong's errors, `GET /schemas` |
//! | [`idp`] | the development identity provider; nothing of the gateway uses it |
//! | [`entity`] | Kong's entities as typed values, and their tables |
//! | [`router`] | path normalisation, Kong's matching, the path towards the service |
//! | [`auth`] | request view, identity, rejections, and a room for each way of authenticating |
//! | [`plugins`] | the registry: name, table, priority, compile; the small plugins that do not authenticate |
//! | [`declarative`] | kong.yml ⇄ entities, with line and column of every fault |
//! | [`upstream`] | services' destinations: addresses, balancing, health |
//! | [`telemetry`] | metric families, access log |
//! | [`tls`] | certificates by server name |
//! | [`snapshot`] | compile, publish, change |
//! | [`store`] | documents in SQLite and PostgreSQL, the change feed |
//! | [`gateway`] | `ProxyHttp`: from Pingora's session to the values above and back |
//! | [`explain`] | why a request would be refused, check by check |
//! | [`admin`] | Kong's Admin API |
//! | [`console`] | the browser UI's files, and the Admin API on their origin |
//! | [`runtime`] | settings, listeners, signals, reload, graceful upgrade |
//! | [`cli`] | the commands |

#![forbid(unsafe_code)]

pub mod admin;
pub mod auth;
mod background;
pub mod calendar;
pub mod cli;
pub mod console;
pub mod declarative;
pub mod diagnostic;
pub mod entity;
pub mod explain;
pub mod gateway;
pub mod idp;
mod ip_text;
pub mod jose;
pub mod plugins;
mod prehashed;
pub mod router;
pub mod runtime;
pub mod schema;
pub mod shared_table;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod upstream;
