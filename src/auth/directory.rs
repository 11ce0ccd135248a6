//! Consumers and credentials as a request looks them up.
//!
//! Part of a snapshot: built and changed off the serving threads, read without a lock. Copies share structure
//! ([`SharedTable`]), so one changed credential among a million costs microseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use uuid::Uuid;

use super::jwt::{CredentialKey, prepare_key};
use super::oauth2::store::{Digest, Token};
use super::uses::minute;
use crate::diagnostic::Diagnostic;
use crate::entity::{ById, Consumer, Dataset, JwtSecret, KeyAuthCredential, Oauth2Credential, Oauth2Token};
use crate::jose::KeyFault;
use crate::shared_table::{KeyOf, SharedTable};

/// A JWT credential with its key prepared.
#[derive(Debug)]
pub struct JwtCredential {
    pub entity: Arc<JwtSecret>,
    /// A fault when the key cannot be used: the credential loads with a warning and authenticates nobody.
    pub key: Result<CredentialKey, KeyFault>,
    /// The minute of its last use; 0 before there was one.
    used: AtomicU32,
}

impl JwtCredential {
    /// It was used; `now` in seconds since the UNIX epoch.
    pub(in crate::auth) fn note_use(&self, now: u64) {
        let minute = minute(now);
        // Most uses find their minute noted already, and what is only read stays in every processor's cache.
        if self.used.load(Relaxed) != minute {
            self.used.store(minute, Relaxed);
        }
    }

    /// When it was last used, to the minute, in seconds since the UNIX epoch.
    pub fn last_used(&self) -> Option<u64> {
        let minute = self.used.load(Relaxed);
        (minute > 0).then_some(u64::from(minute) * 60)
    }
}

/// Index by the credential's own key (`key`, `client_id`).
#[derive(Debug)]
pub struct ByKey;

impl KeyOf<JwtCredential> for ByKey {
    type Key = str;
    fn key(entry: &JwtCredential) -> &str {
        &entry.entity.key
    }
}

impl KeyOf<KeyAuthCredential> for ByKey {
    type Key = str;
    fn key(entry: &KeyAuthCredential) -> &str {
        &entry.key
    }
}

impl KeyOf<Oauth2Credential> for ByKey {
    type Key = str;
    fn key(entry: &Oauth2Credential) -> &str {
        &entry.client_id
    }
}

/// Index of tokens by the digest of the access token.
#[derive(Debug)]
pub struct ByAccess;

impl KeyOf<Token> for ByAccess {
    type Key = Digest;
    fn key(entry: &Token) -> &Digest {
        &entry.access
    }
}

/// Index of consumers by `username`; those without one are not in it.
#[derive(Debug)]
pub struct ByUsername;

impl KeyOf<Consumer> for ByUsername {
    type Key = str;
    fn key(entry: &Consumer) -> &str {
        entry.username.as_deref().unwrap_or_default()
    }
}

/// Index of consumers by `custom_id`; those without one are not in it.
#[derive(Debug)]
pub struct ByCustomId;

impl KeyOf<Consumer> for ByCustomId {
    type Key = str;
    fn key(entry: &Consumer) -> &str {
        entry.custom_id.as_deref().unwrap_or_default()
    }
}

/// Everything a plugin looks up about callers.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub consumers: SharedTable<Consumer, ById>,
    pub by_username: SharedTable<Consumer, ByUsername>,
    pub by_custom_id: SharedTable<Consumer, ByCustomId>,
    pub jwt: SharedTable<JwtCredential, ByKey>,
    pub key_auth: SharedTable<KeyAuthCredential, ByKey>,
    pub oauth2: SharedTable<Oauth2Credential, ByKey>,
    pub oauth2_by_id: SharedTable<Oauth2Credential, ById>,
    /// Access tokens that the configuration declares.
    pub oauth2_tokens: SharedTable<Token, ByAccess>,
}

impl Directory {
    /// Prepares all of a dataset, warning of credentials that cannot be used.
    /// `previous`: what is in force, whose keys need not be prepared again.
    pub fn new(dataset: &Dataset, previous: Option<&Self>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut directory = Self { consumers: dataset.consumers.clone(), ..Self::default() };
        let (names, ids) = dataset.consumers.iter().fold((0, 0), |(names, ids), consumer| {
            (names + usize::from(consumer.username.is_some()), ids + usize::from(consumer.custom_id.is_some()))
        });
        directory.by_username.reserve(names);
        directory.by_custom_id.reserve(ids);
        directory.jwt.reserve(dataset.jwt_secrets.len());
        directory.key_auth.reserve(dataset.keyauth_credentials.len());
        directory.oauth2.reserve(dataset.oauth2_credentials.len());
        directory.oauth2_by_id.reserve(dataset.oauth2_credentials.len());
        directory.oauth2_tokens.reserve(dataset.oauth2_tokens.len());
        for consumer in dataset.consumers.iter() {
            directory.index_consumer(consumer.clone());
        }
        for entity in dataset.jwt_secrets.iter() {
            let before = previous.and_then(|previous| previous.jwt.get(&*entity.key));
            directory.put_jwt(entity.clone(), before, diagnostics);
        }
        for entity in dataset.keyauth_credentials.iter() {
            directory.put_key_auth(entity.clone());
        }
        for entity in dataset.oauth2_credentials.iter() {
            directory.put_oauth2(entity.clone());
        }
        for entity in dataset.oauth2_tokens.iter() {
            directory.put_oauth2_token(entity);
        }
        directory
    }

    fn index_consumer(&mut self, consumer: Arc<Consumer>) {
        if consumer.username.is_some() {
            self.by_username.insert(consumer.clone());
        }
        if consumer.custom_id.is_some() {
            self.by_custom_id.insert(consumer);
        }
    }

    /// Puts a consumer in, in place of the one with its id.
    pub fn put_consumer(&mut self, consumer: Arc<Consumer>) {
        self.remove_consumer(consumer.id);
        self.consumers.insert(consumer.clone());
        self.index_consumer(consumer);
    }

    pub fn remove_consumer(&mut self, id: Uuid) {
        let Some(old) = self.consumers.remove(&id) else { return };
        // Another consumer may have taken the name in the same batch of changes.
        if let Some(name) =
            old.username.as_deref().filter(|name| self.by_username.get(*name).is_some_and(|c| c.id == id))
        {
            self.by_username.remove(name);
        }
        if let Some(name) =
            old.custom_id.as_deref().filter(|name| self.by_custom_id.get(*name).is_some_and(|c| c.id == id))
        {
            self.by_custom_id.remove(name);
        }
    }

    /// Puts a JWT credential in, its key prepared. The caller takes the older one out first ([`Self::remove_jwt`]). `before`: what was
    /// there, which is taken if it is of this very entity; else its use is remembered.
    pub fn put_jwt(
        &mut self,
        entity: Arc<JwtSecret>,
        before: Option<&Arc<JwtCredential>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        if entity.key.is_empty() {
            return;
        }
        let credential = match before {
            Some(before) if Arc::ptr_eq(&before.entity, &entity) => before.clone(),
            _ => {
                let of_one = |other: &JwtSecret| other.key == entity.key && other.consumer.id == entity.consumer.id;
                let used = before.filter(|before| of_one(&before.entity)).map_or(0, |before| before.used.load(Relaxed));
                Arc::new(JwtCredential { key: prepare_key(&entity), entity, used: AtomicU32::new(used) })
            }
        };
        if let Err(fault) = &credential.key {
            let finding = format!("the credential cannot authenticate anyone: {fault}");
            let help = match fault {
                KeyFault::EmptySecret => "give it a secret of at least 32 random bytes",
                _ => "replace rsa_public_key with the PEM public key that belongs to the algorithm",
            };
            diagnostics.push(
                Diagnostic::warning("unusable-key", format!("jwt_secrets.{}", credential.entity.id), finding)
                    .help(help),
            );
        }
        self.jwt.insert(credential);
    }

    /// Puts an API key in; one whose key is null is found by nobody.
    pub fn put_key_auth(&mut self, entity: Arc<KeyAuthCredential>) {
        if !entity.key.is_empty() {
            self.key_auth.insert(entity);
        }
    }

    /// Puts an application in; one whose id is null is found by nobody.
    pub fn put_oauth2(&mut self, entity: Arc<Oauth2Credential>) {
        self.oauth2_by_id.insert(entity.clone());
        if !entity.client_id.is_empty() {
            self.oauth2.insert(entity);
        }
    }

    /// Takes a credential's entry out, unless another credential has taken its key since.
    pub fn remove_jwt(&mut self, old: Option<&Arc<JwtSecret>>) -> Option<Arc<JwtCredential>> {
        let old = old.filter(|old| self.jwt.get(&*old.key).is_some_and(|there| there.entity.id == old.id))?;
        self.jwt.remove(&*old.key)
    }

    /// As [`Self::remove_jwt`].
    pub fn remove_key_auth(&mut self, old: Option<&Arc<KeyAuthCredential>>) {
        if let Some(old) = old.filter(|old| self.key_auth.get(&*old.key).is_some_and(|there| there.id == old.id)) {
            self.key_auth.remove(&*old.key);
        }
    }

    /// As [`Self::remove_jwt`].
    pub fn remove_oauth2(&mut self, old: Option<&Arc<Oauth2Credential>>) {
        let Some(old) = old else { return };
        self.oauth2_by_id.remove(&old.id);
        if self.oauth2.get(&*old.client_id).is_some_and(|there| there.id == old.id) {
            self.oauth2.remove(&*old.client_id);
        }
    }

    /// Puts a declared token in; one without an access token is found by nobody.
    pub fn put_oauth2_token(&mut self, entity: &Oauth2Token) {
        if !entity.access_token.is_empty() {
            self.oauth2_tokens.insert(Arc::new(Token::declared(entity)));
        }
    }

    /// As [`Self::remove_jwt`].
    pub fn remove_oauth2_token(&mut self, old: Option<&Arc<Oauth2Token>>) {
        let Some(old) = old else { return };
        let access = Digest::of(&old.access_token);
        if self.oauth2_tokens.get(&access).is_some_and(|there| there.id == old.id) {
            self.oauth2_tokens.remove(&access);
        }
    }

    pub fn consumer(&self, id: Uuid) -> Option<&Arc<Consumer>> {
        self.consumers.get(&id)
    }

    /// A consumer by id or, failing that, username: how `anonymous` names one.
    pub fn consumer_by_name(&self, name: &str) -> Option<&Arc<Consumer>> {
        Uuid::try_parse(name).ok().and_then(|id| self.consumer(id)).or_else(|| self.by_username.get(name))
    }
}
