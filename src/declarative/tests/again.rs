//! A file that is loaded again.

use std::sync::Arc;

use super::*;
use crate::auth::Directory;
use crate::declarative::load_text;

const TAGGED: &str = "tags: [t], ";

/// Consumers with credentials of all kinds, on the short way (`""`) and on the long one ([`TAGGED`]).
fn text(tags: &str, secret: &str, times: &str) -> String {
    format!(
        "_format_version: '3.0'\nconsumers:\n\
         - {{username: alice, {tags}{times}jwt_secrets: [{{key: a, {tags}secret: {secret}}}]}}\n\
         - {{username: bob, {tags}keyauth_credentials: [{{key: b, {tags}}}, {{key: short, {tags}ttl: 60}}],\n\
         \x20  oauth2_credentials: [{{name: app, client_id: c, client_secret: s, redirect_uris: ['https://a/']}}]}}\n"
    )
}

fn after(previous: &Dataset, text: &str) -> Dataset {
    let now = Now::from_milliseconds(1_800_000_000_000);
    load_text("kong.yml", text, &Options { previous: previous.clone(), now, ..options() })
        .map_err(|_| ())
        .unwrap()
        .dataset
}

/// What of alice, her credential, bob, his keys and his application is the very same, and when alice was made.
fn kept(old: &Dataset, new: &Dataset) -> ([bool; 4], i64) {
    fn all<'d, T: 'd>(old: impl Iterator<Item = &'d Arc<T>>, new: impl Iterator<Item = &'d Arc<T>>) -> usize {
        let old: Vec<_> = old.map(Arc::as_ptr).collect();
        new.filter(|new| old.contains(&Arc::as_ptr(new))).count()
    }
    assert_eq!((new.consumers.len(), new.jwt_secrets.len(), new.keyauth_credentials.len()), (2, 1, 2));
    let alice = new.consumers.iter().find(|consumer| consumer.username.as_deref() == Some("alice")).unwrap();
    (
        [
            all(old.consumers.iter(), new.consumers.iter()) == 2,
            all(old.jwt_secrets.iter(), new.jwt_secrets.iter()) == 1,
            all(old.keyauth_credentials.iter(), new.keyauth_credentials.iter()) >= 1,
            all(old.oauth2_credentials.iter(), new.oauth2_credentials.iter()) == 1,
        ],
        alice.created_at,
    )
}

#[test]
fn what_did_not_change_is_kept() {
    for tags in ["", TAGGED] {
        let old = load(&text(tags, "s1", "")).dataset;
        let same = after(&old, &text(tags, "s1", ""));
        // A key with a `ttl` begins anew.
        assert_eq!(kept(&old, &same), ([true; 4], 1_700_000_000), "{tags}");
        let ends: Vec<i64> =
            same.keyauth_credentials.iter().filter_map(|key| Some(key.created_at + key.ttl?)).collect();
        assert_eq!(ends, [1_800_000_060]);
        assert_eq!(canonical(&after(&Dataset::default(), &text(tags, "s1", ""))).len(), canonical(&same).len());
    }
}

#[test]
fn what_changed_is_new() {
    for tags in ["", TAGGED] {
        let old = load(&text(tags, "s1", "")).dataset;
        let changed = after(&old, &text(tags, "s2", ""));
        assert_eq!(kept(&old, &changed), ([true, false, true, true], 1_700_000_000), "{tags}");
        assert_eq!(&*changed.jwt_secrets.iter().next().unwrap().secret, "s2");
        let dated = after(&old, &text(tags, "s1", "created_at: 5, updated_at: 6, "));
        assert_eq!(kept(&old, &dated), ([false, true, true, true], 5), "{tags}");
        assert_eq!(kept(&dated, &after(&dated, &text(tags, "s1", "created_at: 5, updated_at: 6, "))), ([true; 4], 5));
    }
    let old = load(&text(TAGGED, "s1", "")).dataset;
    assert_eq!(kept(&old, &after(&old, &text("tags: [other], ", "s1", ""))).0, [false, false, false, true]);
}

#[test]
fn keys_that_are_prepared_stay_prepared() {
    let mut warnings = Vec::new();
    let old = load(&text("", "s1", "")).dataset;
    let before = Directory::new(&old, None, &mut warnings);
    for (secret, same) in [("s1", true), ("s2", false)] {
        let new = Directory::new(&after(&old, &text("", secret, "")), Some(&before), &mut warnings);
        let [there, here] = [&before, &new].map(|directory| directory.jwt.get("a").unwrap());
        assert_eq!(Arc::ptr_eq(there, here), same);
        assert_eq!(&*here.entity.secret, secret);
    }
    assert!(warnings.is_empty());
}
