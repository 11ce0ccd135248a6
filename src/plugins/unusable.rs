//! What stands where a stored plugin should run that this version cannot: it may be a guard, so nobody passes.

use http::StatusCode;

use super::Registered;
use crate::auth::{Flow, Plugin, Reason, Rejection, Request, State};

/// Refuses every request.
#[derive(Clone, Copy, Debug)]
pub struct Unusable;

/// The place of plugins whose name says nothing to this version. They run last: those that depend on the consumer know it then.
pub static UNKNOWN: Registered =
    Registered { name: "unknown", priority: i32::MIN, authenticates: false, compile: |_, _, _| Err(Vec::new()) };

impl Plugin for Unusable {
    fn access<'a>(&'a self, _request: &'a Request<'a>, _state: &'a mut State) -> Flow<'a> {
        Flow::Stop(Rejection::message(Reason::Misconfigured, StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"))
    }
}
