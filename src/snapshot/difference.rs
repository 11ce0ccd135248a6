//! How one dataset differs from another, for people.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::Snapshot;
use crate::background;
use crate::entity::{
    CaCertificate, Certificate, Consumer, Dataset, JwtSecret, KeyAuthCredential, Kind, Oauth2Credential, Plugin, Route,
    Service, Sni, Target, Upstream,
};
use crate::telemetry::Metrics;
use crate::telemetry::live::{Difference, KindDifference};

/// Entities of a kind that are named.
const NAMED: usize = 20;

/// Entities as they are compared: times of creation and change do not count, since a declarative file has none.
trait Compared: Clone + PartialEq {
    fn id(&self) -> Uuid;
    fn name(&self) -> String;
    fn with_times_of(self, other: &Self) -> Self;

    fn same(&self, other: &Self) -> bool {
        self.clone().with_times_of(other) == *other
    }
}

macro_rules! compared {
    ($($type:ty { $($time:ident),* } $name:expr;)*) => {$(
        impl Compared for $type {
            fn id(&self) -> Uuid {
                self.id
            }
            fn name(&self) -> String {
                let name: fn(&Self) -> Option<String> = $name;
                name(self).unwrap_or_else(|| self.id.to_string())
            }
            fn with_times_of(self, other: &Self) -> Self {
                Self { $($time: other.$time,)* ..self }
            }
        }
    )*};
}

compared! {
    Certificate { created_at, updated_at } |_| None;
    CaCertificate { created_at, updated_at } |_| None;
    Consumer { created_at, updated_at } |it| it.username.as_deref().or(it.custom_id.as_deref()).map(str::to_owned);
    Service { created_at, updated_at } |it| it.name.clone();
    Upstream { created_at, updated_at } |it| Some(it.name.clone());
    Sni { created_at, updated_at } |it| Some(it.name.clone());
    Route { created_at, updated_at } |it| it.name.clone();
    Target { created_at, updated_at } |it| Some(it.target.clone());
    JwtSecret { created_at } |it| Some(it.key.to_string());
    // An API key is a secret.
    KeyAuthCredential { created_at } |_| None;
    Oauth2Credential { created_at } |it| Some(it.client_id.to_string());
    Plugin { created_at, updated_at } |it| Some(format!("{} {}", it.name, it.id));
}

/// Counts and names, kind by kind; only kinds that differ.
pub fn difference(old: &Dataset, new: &Dataset) -> Vec<KindDifference> {
    let mut all = Vec::new();
    macro_rules! compare {
        ($($kind:ident: $field:ident,)*) => {$(
            compare(Kind::$kind, old.$field.iter(), new.$field.iter(), &mut all);
        )*};
    }
    compare! {
        Service: services,
        Route: routes,
        Plugin: plugins,
        Upstream: upstreams,
        Target: targets,
        Certificate: certificates,
        CaCertificate: ca_certificates,
        Sni: snis,
        Consumer: consumers,
        JwtSecret: jwt_secrets,
        KeyAuthCredential: keyauth_credentials,
        Oauth2Credential: oauth2_credentials,
    }
    all
}

/// The same where it is known which entities were written: costs nothing for the others.
pub fn difference_of(old: &Dataset, new: &Dataset, written: &HashSet<(Kind, Uuid)>) -> Vec<KindDifference> {
    let mut all = Vec::new();
    let of = |kind: Kind| written.iter().filter(move |(there, _)| *there == kind).map(|(_, id)| id);
    macro_rules! compare {
        ($($kind:ident: $field:ident,)*) => {$(
            let is = |entity: &&Arc<$kind>| written.contains(&(Kind::$kind, entity.id));
            compare(Kind::$kind, old.$field.iter().filter(is), new.$field.iter().filter(is), &mut all);
        )*};
    }
    macro_rules! compare_table {
        ($($kind:ident: $field:ident,)*) => {$(
            let (there, here) = (of(Kind::$kind), of(Kind::$kind));
            let (there, here) = (there.filter_map(|id| old.$field.get(id)), here.filter_map(|id| new.$field.get(id)));
            compare(Kind::$kind, there, here, &mut all);
        )*};
    }
    compare! {
        Service: services,
        Route: routes,
        Plugin: plugins,
        Upstream: upstreams,
        Target: targets,
        Certificate: certificates,
        CaCertificate: ca_certificates,
        Sni: snis,
    }
    compare_table! {
        Consumer: consumers,
        JwtSecret: jwt_secrets,
        KeyAuthCredential: keyauth_credentials,
        Oauth2Credential: oauth2_credentials,
    }
    all
}

/// Works out, on a thread of its own, how a configuration differs from the one it replaced, and lets go of that one there.
pub fn note_difference(metrics: &Arc<Metrics>, replaced: Arc<Snapshot>, new: Dataset, to: u64) {
    if !replaced.is_loaded() {
        return;
    }
    let from = replaced.generation;
    metrics.live.history.differs(Difference { from, to, pending: true, kinds: Vec::new() });
    let metrics = metrics.clone();
    let work = move || {
        let kinds = difference(&replaced.dataset, &new);
        metrics.live.history.differs(Difference { from, to, pending: false, kinds });
    };
    // Without a thread nobody is told; nothing else depends on it.
    drop(background::spawn("difference", work));
}

fn compare<'d, T: Compared + 'd>(
    kind: Kind,
    old: impl Iterator<Item = &'d Arc<T>>,
    new: impl Iterator<Item = &'d Arc<T>>,
    all: &mut Vec<KindDifference>,
) {
    let mut gone: HashMap<Uuid, &Arc<T>> = old.map(|entity| (entity.id(), entity)).collect();
    let mut found = KindDifference { kind: kind.collection(), ..KindDifference::default() };
    let name = |names: &mut Vec<String>, entity: &T| {
        if names.len() < NAMED {
            names.push(entity.name());
        }
    };
    for entity in new {
        match gone.remove(&entity.id()) {
            None => {
                found.added += 1;
                name(&mut found.names.added, entity);
            }
            Some(there) if !Arc::ptr_eq(there, entity) && !there.same(entity) => {
                found.changed += 1;
                name(&mut found.names.changed, entity);
            }
            Some(_) => {}
        }
    }
    found.removed = gone.len();
    for entity in gone.into_values().take(NAMED) {
        name(&mut found.names.removed, entity);
    }
    if found.added + found.removed + found.changed > 0 {
        all.push(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declarative;

    fn dataset(config: &str) -> Dataset {
        let text = format!("_format_version: \"3.0\"\n{config}");
        declarative::load_text("kong.yml", &text, &declarative::Options::default()).map_err(|_| ()).unwrap().dataset
    }

    #[test]
    fn a_reload_of_the_same_differs_in_nothing() {
        let config =
            "consumers: [{username: a, jwt_secrets: [{key: k, secret: s}]}]\nservices: [{name: s, url: 'http://h'}]";
        assert_eq!(difference(&dataset(config), &dataset(config)), []);
        let other =
            "consumers: [{username: b}, {username: a, custom_id: x}]\nservices: [{name: s, url: 'http://other'}]";
        let found = difference(&dataset(config), &dataset(other));
        let of = |kind: &str| found.iter().find(|there| there.kind == kind).unwrap();
        assert_eq!(of("services").names.changed, ["s"]);
        assert_eq!(
            (of("consumers").names.added.clone(), of("consumers").names.changed.clone()),
            (vec!["b".into()], vec!["a".into()])
        );
        assert_eq!(of("jwt_secrets").names.removed, ["k"]);
        assert_eq!(found.len(), 3);
    }
}
