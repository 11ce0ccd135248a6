//! One pass of the decision about a request: what it is made from, and what it may come to.

use std::borrow::Cow;
use std::sync::Arc;

use super::client::Client;
use super::flights::Key;
use super::grant::{self, Granted};
use super::present::{Place, Sent};
use super::provider::Waiting;
use super::remote::{self, Told};
use crate::auth::oauth2::store::{Digest, Token};
use crate::auth::trace::{Check, Step, Trace};
use crate::auth::{Rejection, Request, State};

/// What a decision is made from, and where its findings go.
pub struct Attempt<'a, T> {
    pub request: &'a Request<'a>,
    pub sent: &'a Sent<'a>,
    pub state: &'a mut State,
    pub have: &'a Have,
    pub trace: &'a mut T,
}

impl<T: Trace> Attempt<'_, T> {
    pub fn passed<D: Into<Cow<'static, str>>>(&mut self, check: Check, detail: impl FnOnce() -> D) {
        self.trace.record(|| Step::passed(check, detail().into()));
    }

    pub fn failed<D: Into<Cow<'static, str>>>(&mut self, check: Check, detail: impl FnOnce() -> D) {
        self.trace.record(|| Step::failed(check, detail().into()));
    }

    pub fn noted<D: Into<Cow<'static, str>>>(&mut self, check: Check, detail: impl FnOnce() -> D) {
        self.trace.record(|| Step::noted(check, detail().into()));
    }
}

/// Why a decision is not an acceptance.
pub enum Halt {
    Refused(Box<Rejection>),
    Need(Box<Need>),
}

impl From<Box<Rejection>> for Halt {
    fn from(refused: Box<Rejection>) -> Self {
        Self::Refused(refused)
    }
}

/// What has to be fetched before a decision can be made.
pub enum Need {
    /// A refresh of an issuer's keys, which somebody is at.
    Keys(Waiting),
    Grant {
        key: Key,
        call: Box<grant::Call>,
        refresh: Option<String>,
    },
    Introspection {
        key: Key,
        call: Box<remote::Call>,
        client: Client,
    },
    UserInfo {
        key: Key,
        call: Box<remote::Call>,
    },
    Oauth2(Digest),
}

/// What has been fetched for this request.
#[derive(Default)]
pub struct Have {
    /// How often anything was fetched.
    pub rounds: u8,
    /// How often keys were waited for.
    pub keys: u8,
    pub granted: Option<Granted>,
    pub introspected: Option<Told>,
    pub user_info: Option<Told>,
    pub oauth2: Option<Option<Arc<Token>>>,
}

/// A token that was accepted, for what is done with the request then.
#[derive(Clone, Copy)]
pub struct Accepted<'a> {
    /// What goes on to the service.
    pub token: &'a str,
    /// A refresh token that came with it.
    pub refresh: Option<&'a str>,
    /// Where the credential was.
    pub place: &'a Place,
}
