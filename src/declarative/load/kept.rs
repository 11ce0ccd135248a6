//! Entities that a file brings as they are in force already.
//!
//! A large file is loaded again for a few changes in it. What did not change is kept, not copied: a reload then needs little memory
//! beside what the configuration has, frees little afterwards, and what is prepared for a credential stays prepared. It also keeps
//! its times: it was not made anew.

use std::sync::Arc;

use crate::entity::{Consumer, Dataset, Entity, JwtSecret, KeyAuthCredential, Oauth2Credential};

/// The entity in force if it is the same, the new one otherwise. `dated`: the file gives it times of its own, which count then.
pub(super) fn kept(previous: &Dataset, new: Entity, dated: bool) -> Entity {
    match new {
        Entity::Consumer(new) => Entity::Consumer(consumer(previous, new, dated)),
        Entity::JwtSecret(new) => Entity::JwtSecret(jwt_secret(previous, new, dated)),
        Entity::KeyAuthCredential(new) => Entity::KeyAuthCredential(key(previous, new, dated)),
        Entity::Oauth2Credential(new) => Entity::Oauth2Credential(application(previous, new, dated)),
        few => few,
    }
}

fn choose<T>(new: Arc<T>, old: Option<&Arc<T>>, same: impl FnOnce(&T, &T) -> bool) -> Arc<T> {
    old.filter(|old| same(old, &new)).cloned().unwrap_or(new)
}

pub(super) fn consumer(previous: &Dataset, new: Arc<Consumer>, dated: bool) -> Arc<Consumer> {
    let old = previous.consumers.get(&new.id);
    choose(new, old, |old, new| {
        let Consumer { id, created_at, updated_at, username, custom_id, tags } = new;
        (id, username, custom_id, tags) == (&old.id, &old.username, &old.custom_id, &old.tags)
            && (!dated || (created_at, updated_at) == (&old.created_at, &old.updated_at))
    })
}

pub(super) fn jwt_secret(previous: &Dataset, new: Arc<JwtSecret>, dated: bool) -> Arc<JwtSecret> {
    let old = previous.jwt_secrets.get(&new.id);
    choose(new, old, |old, new| {
        let JwtSecret { id, created_at, consumer, key, secret, algorithm, rsa_public_key, tags } = new;
        (id, consumer, key, secret) == (&old.id, &old.consumer, &old.key, &old.secret)
            && (algorithm, rsa_public_key, tags) == (&old.algorithm, &old.rsa_public_key, &old.tags)
            && (!dated || *created_at == old.created_at)
    })
}

pub(super) fn key(previous: &Dataset, new: Arc<KeyAuthCredential>, dated: bool) -> Arc<KeyAuthCredential> {
    let old = previous.keyauth_credentials.get(&new.id);
    choose(new, old, |old, new| {
        let KeyAuthCredential { id, created_at, consumer, key, ttl, tags } = new;
        (id, consumer, key, ttl, tags) == (&old.id, &old.consumer, &old.key, &old.ttl, &old.tags)
            // A key that ends has its time from when it was loaded, as in Kong.
            && (!dated && ttl.is_none() || *created_at == old.created_at)
    })
}

fn application(previous: &Dataset, new: Arc<Oauth2Credential>, dated: bool) -> Arc<Oauth2Credential> {
    let old = previous.oauth2_credentials.get(&new.id);
    choose(new, old, |old, new| {
        // Few, and of many fields.
        let mut dated_as_old = Oauth2Credential::clone(new);
        if !dated {
            dated_as_old.created_at = old.created_at;
        }
        dated_as_old == *old
    })
}
