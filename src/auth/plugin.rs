//! What a plugin is.

use bytes::Bytes;
use futures::future::BoxFuture;

use super::trace::Step;
use super::{Rejection, Request, State};

/// What a plugin decides about a request.
pub enum Flow<'a> {
    /// The next plugin, or the service.
    Next,
    /// This answer, and nothing further.
    Stop(Box<Rejection>),
    /// Not yet known: something has to be fetched first. Yields the decision; never another wait.
    Wait(BoxFuture<'a, Result<(), Box<Rejection>>>),
}

impl From<Result<(), Box<Rejection>>> for Flow<'_> {
    fn from(result: Result<(), Box<Rejection>>) -> Self {
        match result {
            Ok(()) => Self::Next,
            Err(rejection) => Self::Stop(rejection),
        }
    }
}

/// What of a request's body a plugin wants to see before it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    #[default]
    Nothing,
    /// A form, JSON or multipart body, if there is one and it is small enough; the request goes on either way.
    SmallBody,
}

/// Where a public document is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// In lower case, without a port.
    pub host: Box<str>,
    pub path: Box<str>,
}

/// A configured plugin, compiled: everything that a request does not change is prepared.
pub trait Plugin: Send + Sync {
    /// Decides about a request. On the hot path: takes no lock, does no I/O unless in [`Flow::Wait`], does not panic.
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a>;

    /// [`Self::access`], telling of every check: the same code, with a trace that takes the steps. A plugin that makes none
    /// worth telling has nothing to add.
    fn trace<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State, _steps: &'a mut Vec<Step>) -> Flow<'a> {
        self.access(request, state)
    }

    /// Where a document of the plugin's is that anybody may read, whatever route the place would belong to.
    fn document_place(&self) -> Option<&Place> {
        None
    }

    /// That document, in JSON.
    fn document(&self) -> Option<Bytes> {
        None
    }

    /// Whether the body is needed for that.
    fn wants(&self, _request: &Request<'_>) -> Wants {
        Wants::Nothing
    }
}
