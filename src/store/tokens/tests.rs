//! One set of promises, kept by every store: memory, file, SQLite, and PostgreSQL where `PORTCULLIS_TEST_POSTGRES` names a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::auth::oauth2::TokenStore;
use crate::auth::oauth2::store::{Code, Digest, Gone, Name, Owner, Put, Redemption, Spare, Taken, Token};
use crate::store::{self, Store};

/// A store under test, and what it needs to live.
struct Under {
    name: &'static str,
    store: Arc<dyn TokenStore>,
    _kept: Vec<Box<dyn std::any::Any + Send>>,
}

/// A database of its own on the server for tests.
async fn postgres() -> Option<String> {
    let Ok(server) = std::env::var("PORTCULLIS_TEST_POSTGRES") else {
        eprintln!("not on PostgreSQL: PORTCULLIS_TEST_POSTGRES names no server");
        return None;
    };
    let name = format!("tokens_{}", Uuid::new_v4().simple());
    let pool = sqlx::PgPool::connect(&server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    pool.close().await;
    let (before, _) = server.rsplit_once('/').unwrap();
    Some(format!("{before}/{name}"))
}

/// A gateway's tokens on a database; they are in order once this returns.
async fn on(database: &Store) -> (Arc<SqlTokens>, watch::Sender<bool>) {
    let tokens = SqlTokens::new(database.clone());
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(tokens.clone().run(stopping));
    tokio::time::sleep(Duration::from_millis(100)).await;
    (tokens, stop)
}

async fn all() -> Vec<Under> {
    let folder = tempfile::tempdir().unwrap();
    let file = LocalTokens::in_file(&folder.path().join("tokens.jsonl"), 100).unwrap();
    let database = store::open(&format!("sqlite:{}/p.db", folder.path().display())).await.unwrap();
    let (sqlite, stop) = on(&database).await;
    let mut all = vec![
        Under { name: "memory", store: Arc::new(LocalTokens::in_memory()), _kept: Vec::new() },
        Under { name: "file", store: Arc::new(file), _kept: Vec::new() },
        Under { name: "sqlite", store: sqlite, _kept: vec![Box::new(folder), Box::new(stop)] },
    ];
    if let Some(url) = postgres().await {
        let (tokens, stop) = on(&store::open(&url).await.unwrap()).await;
        all.push(Under { name: "postgres", store: tokens, _kept: vec![Box::new(stop)] });
    }
    all
}

fn token(access: &str, refresh: Option<&str>, code: Option<&str>) -> Token {
    Token {
        id: Uuid::new_v4(),
        access: Digest::of(access),
        refresh: refresh.map(Digest::of),
        credential: Uuid::nil(),
        service: None,
        userid: Some("u".into()),
        scope: None,
        created_at: 100,
        expires_in: 10,
        purge_at: Some(40_000_000_000),
        code: code.map(Digest::of),
        gone: Gone::default(),
    }
}

fn code(name: &str) -> Code {
    Code {
        digest: Digest::of(name),
        credential: Uuid::nil(),
        service: None,
        plugin: Uuid::nil(),
        userid: None,
        scope: None,
        challenge: None,
        expires_at: 400,
    }
}

async fn there(store: &dyn TokenStore, access: &str) -> bool {
    store.fetch(&Digest::of(access)).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_back_as_it_was() {
    for Under { name, store, .. } in all().await {
        let full =
            Token { service: Some(Uuid::from_u128(7)), scope: Some("a b".into()), ..token("a", Some("r"), Some("c")) };
        store.issue(full.clone()).await.unwrap();
        let bare = Token { userid: None, purge_at: None, expires_in: 0, ..token("b", None, None) };
        store.issue(bare.clone()).await.unwrap();
        assert_eq!(*store.lookup(&full.access).unwrap(), full, "{name}");
        assert_eq!(*store.by_refresh(&Digest::of("r")).await.unwrap().unwrap(), full, "{name}");
        assert_eq!(*store.find(Name::Id(bare.id)).await.unwrap().unwrap(), bare, "{name}");
        assert!(store.lookup(&Digest::of("c")).is_none() && !there(&*store, "c").await, "{name}");
        assert_eq!(store.in_memory(), 2, "{name}");
        let kept = Code { scope: Some("x".into()), challenge: Some("y".into()), ..code("k") };
        store.put_code(kept.clone()).await.unwrap();
        assert_eq!(store.code(&kept.digest, 399).await.unwrap(), Some(kept.clone()), "{name}");
        assert_eq!(store.code(&kept.digest, 400).await.unwrap(), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_succeeds_once() {
    for Under { name, store, .. } in all().await {
        store.issue(token("a1", Some("r1"), None)).await.unwrap();
        let refresh = Digest::of("r1");
        let tries = (0..50).map(|n| {
            let (store, new) = (store.clone(), token(&format!("n{n}"), Some(&format!("s{n}")), None));
            tokio::spawn(async move { store.rotate(&refresh, new).await.unwrap() })
        });
        let outcomes = futures::future::join_all(tries).await;
        assert_eq!(outcomes.into_iter().filter(|done| *done.as_ref().unwrap()).count(), 1, "{name}");
        assert!(store.lookup(&Digest::of("a1")).is_none() && !there(&*store, "a1").await, "{name}");
        assert_eq!(store.list(None, None, 100).await.unwrap().len(), 1, "{name}");
        // With the same refresh token (reuse_refresh_token) it can be repeated.
        store.issue(token("b1", Some("again"), None)).await.unwrap();
        let again = Digest::of("again");
        assert!(store.rotate(&again, token("b2", Some("again"), None)).await.unwrap(), "{name}");
        assert!(store.rotate(&again, token("b3", Some("again"), None)).await.unwrap(), "{name}");
        assert!(!there(&*store, "b2").await && there(&*store, "b3").await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_redemptions_one_succeeds() {
    for Under { name, store, .. } in all().await {
        store.put_code(code("c")).await.unwrap();
        let tries = (0..1000).map(|n| {
            let (store, token) = (store.clone(), token(&format!("t{n}"), None, Some("c")));
            tokio::spawn(async move { store.redeem(&Digest::of("c"), token).await.unwrap() })
        });
        let outcomes = futures::future::join_all(tries).await;
        let taken = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == Redemption::Taken).count();
        assert_eq!(taken, 1, "{name}");
        assert_eq!(store.list(None, None, 5).await.unwrap().len(), 1, "{name}: tokens of the others are kept");
        assert_eq!(store.code(&Digest::of("c"), 0).await.unwrap(), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_code_ends_what_it_gave_out() {
    for Under { name, store, .. } in all().await {
        store.put_code(code("c")).await.unwrap();
        let taken = store.redeem(&Digest::of("c"), token("a", Some("r"), Some("c"))).await.unwrap();
        assert_eq!(taken, Redemption::Taken, "{name}");
        store.issue(token("other", None, None)).await.unwrap();
        assert!(store.rotate(&Digest::of("r"), token("a2", Some("r2"), Some("c"))).await.unwrap());
        let nobody = Spare { credential: Uuid::max(), since: 0 };
        let retry = Spare { credential: Uuid::nil(), since: 100 };
        store.revoke_issued_for(&Digest::of("c"), retry).await.unwrap();
        assert!(there(&*store, "a2").await, "{name}: the client itself asked again at once");
        store.revoke_issued_for(&Digest::of("c"), nobody).await.unwrap();
        assert!(store.lookup(&Digest::of("a2")).is_none() && !there(&*store, "a2").await, "{name}");
        assert!(store.by_refresh(&Digest::of("r2")).await.unwrap().is_none(), "{name}");
        assert!(there(&*store, "other").await, "{name}");
    }
}

/// A request that comes again asks the token it got before, not the store.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_token_sees_that_it_is_gone() {
    for Under { name, store, .. } in all().await {
        for token in
            [token("removed", None, None), token("changed", Some("r1"), None), token("rotated", Some("r2"), None)]
        {
            store.issue(token).await.unwrap();
        }
        store.put_code(code("c")).await.unwrap();
        store.redeem(&Digest::of("c"), token("revoked", Some("r3"), Some("c"))).await.unwrap();
        let had = |access: &str| store.lookup(&Digest::of(access)).unwrap();
        let all = ["removed", "changed", "rotated", "revoked"].map(had);
        assert!(all.iter().all(|token| !token.gone.is_set()), "{name}");
        let [removed, changed, rotated, revoked] = all;
        // Each end moves the count, so that who remembers a token looks at its mark again.
        let mut departures = vec![store.departures()];
        store.issue(token("new", None, None)).await.unwrap();
        assert_eq!(store.departures(), departures[0], "{name}: nothing went");
        assert!(store.remove(removed.id).await.unwrap(), "{name}");
        departures.push(store.departures());
        let other = Token { scope: Some("less".into()), ..Token::clone(&changed) };
        assert_eq!(store.put(other, Put::Replace).await.unwrap(), Ok(()), "{name}");
        departures.push(store.departures());
        assert!(store.rotate(&Digest::of("r2"), token("next", Some("r2"), None)).await.unwrap(), "{name}");
        departures.push(store.departures());
        let nobody = Spare { credential: Uuid::nil(), since: u64::MAX };
        store.revoke_issued_for(&Digest::of("c"), nobody).await.unwrap();
        departures.push(store.departures());
        assert!(departures.is_sorted_by(|one, next| one < next), "{name}: {departures:?}");
        for (what, token) in
            [("removed", &removed), ("changed", &changed), ("rotated", &rotated), ("revoked", &revoked)]
        {
            assert!(token.gone.is_set(), "{name}: {what}");
        }
        // What stands in its place is there, also under a refresh token that stayed.
        for access in ["changed", "next"] {
            assert!(there(&*store, access).await && !had(access).gone.is_set(), "{name}: {access}");
        }
        let kept = store.by_refresh(&Digest::of("r2")).await.unwrap().unwrap();
        assert!(kept.access == Digest::of("next") && !kept.gone.is_set(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_administered() {
    for Under { name, store, .. } in all().await {
        let (one, two) = (token("1", Some("r1"), None), token("2", None, None));
        let mine =
            Token { credential: Uuid::from_u128(5), service: Some(Uuid::from_u128(6)), ..token("3", None, None) };
        for token in [&one, &two, &mine] {
            assert_eq!(store.put(token.clone(), Put::New).await.unwrap(), Ok(()), "{name}");
        }
        assert_eq!(store.put(one.clone(), Put::New).await.unwrap(), Err(Taken::Id), "{name}");
        assert_eq!(store.put(token("1", None, None), Put::New).await.unwrap(), Err(Taken::Access), "{name}");
        assert_eq!(store.put(token("9", Some("r1"), None), Put::New).await.unwrap(), Err(Taken::Refresh), "{name}");
        // Found missing a moment ago, then created.
        assert!(!there(&*store, "new").await, "{name}");
        let renamed = Token { access: Digest::of("new"), ..one.clone() };
        assert_eq!(store.put(renamed, Put::Replace).await.unwrap(), Ok(()), "{name}");
        assert!(there(&*store, "new").await && !there(&*store, "1").await, "{name}");
        let mut ids = [one.id, two.id, mine.id];
        ids.sort();
        let page = store.list(None, None, 2).await.unwrap();
        assert_eq!(page.iter().map(|token| token.id).collect::<Vec<_>>(), ids[..2], "{name}");
        let rest = store.list(None, Some(ids[1]), 2).await.unwrap();
        assert_eq!(rest.iter().map(|token| token.id).collect::<Vec<_>>(), ids[2..], "{name}");
        for owner in [Owner::Credential(Uuid::from_u128(5)), Owner::Service(Uuid::from_u128(6))] {
            let of = store.list(Some(owner), None, 9).await.unwrap();
            assert_eq!(of.iter().map(|token| token.id).collect::<Vec<_>>(), [mine.id], "{name}");
        }
        assert!(store.remove(two.id).await.unwrap() && !store.remove(two.id).await.unwrap(), "{name}");
        assert!(store.lookup(&two.access).is_none() && !there(&*store, "2").await, "{name}");
        assert!(store.find(Name::Access(two.access)).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let store = LocalTokens::in_file(&path, 100).unwrap();
    store.issue(token("a", Some("r"), None)).await.unwrap();
    store.put_code(code("kept")).await.unwrap();
    store.put_code(code("taken")).await.unwrap();
    store.redeem(&Digest::of("taken"), token("of-code", None, Some("taken"))).await.unwrap();
    store.rotate(&Digest::of("r"), token("b", Some("r2"), Some("kept"))).await.unwrap();
    let gone = token("gone", Some("gone-r"), None);
    store.put(gone.clone(), Put::New).await.unwrap().unwrap();
    store.remove(gone.id).await.unwrap();
    drop(store);
    // A crash in the middle of a write.
    let mut text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("\"a\""), "tokens stand in the file as digests");
    text.push_str("{\"issue\":{\"id\":\"");
    std::fs::write(&path, text).unwrap();
    let store = LocalTokens::in_file(&path, 100).unwrap();
    assert!(store.lookup(&Digest::of("a")).is_none() && store.lookup(&gone.access).is_none());
    assert_eq!(store.lookup(&Digest::of("b")).unwrap().userid.as_deref(), Some("u"));
    assert!(store.lookup(&Digest::of("of-code")).is_some());
    let again = store.redeem(&Digest::of("taken"), token("twice", None, None)).await.unwrap();
    assert_eq!(again, Redemption::Gone);
    assert!(store.code(&Digest::of("kept"), 399).await.unwrap().is_some());
    // The file was written anew without the torn line.
    assert!(LocalTokens::in_file(&path, 100).is_ok());
    std::fs::write(&path, "nonsense\n{}\n").unwrap();
    assert!(matches!(LocalTokens::in_file(&path, 100), Err(JournalFault::Line { line: 1, .. })));
}

/// Replaces the file, which takes until the other process has let go of it.
fn write_anew(store: &LocalTokens, path: &std::path::Path) {
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let (before, started) = (inode(), Instant::now());
    while inode() == before {
        store.write_anew().unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "it is written anew once the other process is gone");
    }
}

/// A process takes over from another: both have the file open for a while.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_append_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let old = LocalTokens::in_file(&path, 100).unwrap();
    old.issue(token("before", None, None)).await.unwrap();
    let new = LocalTokens::in_file(&path, 100).unwrap();
    old.issue(token("late", Some("late-r"), None)).await.unwrap();
    old.put_code(code("c")).await.unwrap();
    assert!(new.may_know_more(&Digest::of("late")) && there(&new, "late").await && there(&new, "before").await);
    assert!(!new.may_know_more(&Digest::of("unknown")), "it has read everything");
    new.issue(token("own", None, None)).await.unwrap();
    old.issue(token("later", None, None)).await.unwrap();
    new.issue(token("own2", None, None)).await.unwrap();
    assert!(new.lookup(&Digest::of("later")).is_some(), "read on the way");
    assert!(there(&old, "own").await && there(&old, "own2").await);
    assert!(new.rotate(&Digest::of("late-r"), token("rotated", None, None)).await.unwrap());
    assert!(new.code(&Digest::of("c"), 0).await.unwrap().is_some());
    // Neither takes the file away from the other.
    new.write_anew().unwrap();
    old.write_anew().unwrap();
    old.issue(token("last", None, None)).await.unwrap();
    assert!(there(&new, "last").await);
    drop(old);
    write_anew(&new, &path);
    drop(new);
    let again = LocalTokens::in_file(&path, 100).unwrap();
    for name in ["before", "later", "own", "own2", "rotated", "last"] {
        assert!(again.lookup(&Digest::of(name)).is_some(), "{name}");
    }
    assert!(again.lookup(&Digest::of("late")).is_none());
}

/// What the other process did is known without anybody asking for a token that is not, and not lost with the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_knows_what_the_one_before_it_ended_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let old = LocalTokens::in_file(&path, 100).unwrap();
    let [revoked, removed, kept] = ["revoked", "removed", "kept"].map(|name| token(name, None, None));
    for token in [&revoked, &removed, &kept] {
        old.issue(token.clone()).await.unwrap();
    }
    let new = LocalTokens::in_file(&path, 100).unwrap();
    let had = new.lookup(&revoked.access).unwrap();
    assert!(old.remove(revoked.id).await.unwrap());
    assert!(!had.gone.is_set(), "not heard of yet");
    new.follow().unwrap();
    assert!(had.gone.is_set() && new.lookup(&revoked.access).is_none());
    // An administrator asks this process for a token of the other's.
    let late = token("late", None, None);
    old.issue(late.clone()).await.unwrap();
    assert!(new.remove(late.id).await.unwrap() && !there(&old, "late").await);
    // The last before it ends, and the file is written anew before anybody asks.
    old.issue(token("last", None, None)).await.unwrap();
    assert!(old.remove(removed.id).await.unwrap());
    drop(old);
    write_anew(&new, &path);
    drop(new);
    let again = LocalTokens::in_file(&path, 100).unwrap();
    assert!(again.lookup(&Digest::of("last")).is_some() && again.lookup(&kept.access).is_some());
    for access in [revoked.access, removed.access, late.access] {
        assert!(again.lookup(&access).is_none());
    }
}

/// Compaction gathers what is in memory while others append.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_while_the_file_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let store = Arc::new(LocalTokens::in_file(&path, 100).unwrap());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..100 {
                    store.issue(token(&format!("{writer}-{n}"), None, None)).await.unwrap();
                }
            })
        })
        .collect();
    let rewriting = store.clone();
    let rewritten = tokio::task::spawn_blocking(move || {
        let mut times = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            rewriting.write_anew().unwrap();
            times += 1;
        }
        times
    });
    assert!(rewritten.await.unwrap() > 1);
    drop(store);
    let store = LocalTokens::in_file(&path, 100).unwrap();
    let lost = (0..4).flat_map(|writer| (0..100).map(move |n| format!("{writer}-{n}")));
    let lost: Vec<String> = lost.filter(|name| store.lookup(&Digest::of(name)).is_none()).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn what_has_ended_is_swept() {
    let store = LocalTokens::in_memory();
    let purged = |token: Token| Token { purge_at: Some(1000), ..token };
    store.issue(purged(token("short", None, None))).await.unwrap();
    store.issue(purged(token("refreshable", Some("r"), None))).await.unwrap();
    store.sweep(110).unwrap();
    assert!(store.lookup(&Digest::of("short")).is_some(), "it is good within its last second");
    store.sweep(111).unwrap();
    assert!(store.lookup(&Digest::of("short")).is_none());
    assert!(store.lookup(&Digest::of("refreshable")).is_some_and(|token| token.is_expired(120)));
    store.sweep(1000).unwrap();
    assert!(store.by_refresh(&Digest::of("r")).await.unwrap().is_none());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

/// Two gateways: what one issues the other takes at once, what one ends the other forgets.
async fn share(url: &str, within: Duration) {
    let (one, _stop_one) = on(&store::open(url).await.unwrap()).await;
    let early = token("early", Some("early-r"), None);
    one.issue(early.clone()).await.unwrap();
    let (two, _stop_two) = on(&store::open(url).await.unwrap()).await;
    until("live tokens are read at the start", || two.lookup(&early.access).is_some()).await;

    let late = token("late", None, None);
    assert!(!there(&*two, "late").await && !two.may_know_more(&late.access), "a token nobody has is asked for once");
    one.put(late.clone(), Put::New).await.unwrap().unwrap();
    until("a token that was missing a moment ago", || two.may_know_more(&late.access)).await;
    assert!(there(&*two, "late").await && two.lookup(&late.access).is_some());

    let fresh = token("fresh", Some("fresh-r"), Some("c"));
    one.put_code(code("c")).await.unwrap();
    assert_eq!(one.redeem(&Digest::of("c"), fresh.clone()).await.unwrap(), Redemption::Taken);
    assert!(two.may_know_more(&fresh.access) && there(&*two, "fresh").await);
    assert_eq!(two.redeem(&Digest::of("c"), token("x", None, None)).await.unwrap(), Redemption::Gone);

    let nobody = Spare { credential: Uuid::max(), since: 0 };
    two.revoke_issued_for(&Digest::of("c"), nobody).await.unwrap();
    let took = until("a code's token ended by the other", || one.lookup(&fresh.access).is_none()).await;
    assert!(took < within, "{took:?}");
    two.remove(late.id).await.unwrap();
    until("a token removed by the other", || one.lookup(&late.access).is_none()).await;
    assert!(one.rotate(&Digest::of("early-r"), token("early2", Some("early-r2"), None)).await.unwrap());
    until("a token rotated by the other", || two.lookup(&early.access).is_none()).await;
    assert!(!there(&*two, "early").await && there(&*two, "early2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    share(&format!("sqlite:{}/p.db", folder.path().display()), Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_postgres() {
    if let Some(url) = postgres().await {
        share(&url, Duration::from_millis(500)).await;
    }
}

/// Two gateways redeem the same codes in opposite orders: nobody waits for ever, every code gives one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gateways_race_for_codes() {
    let Some(url) = postgres().await else { return };
    let (one, _stop_one) = on(&store::open(&url).await.unwrap()).await;
    let (two, _stop_two) = on(&store::open(&url).await.unwrap()).await;
    for n in 0..100 {
        one.put_code(code(&format!("c{n}"))).await.unwrap();
    }
    let mut tries = Vec::new();
    for n in 0..100 {
        for (gateway, n) in [(one.clone(), n), (two.clone(), 99 - n)] {
            tries.push(tokio::spawn(async move {
                let token = token(&Uuid::new_v4().to_string(), None, None);
                gateway.redeem(&Digest::of(&format!("c{n}")), token).await.unwrap() == Redemption::Taken
            }));
        }
    }
    let taken = futures::future::join_all(tries).await.into_iter().filter(|taken| *taken.as_ref().unwrap()).count();
    assert_eq!(taken, 100);
    assert_eq!(one.list(None, None, 1000).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_with_their_credential() {
    use serde_json::json;
    let folder = tempfile::tempdir().unwrap();
    let database = store::open(&format!("sqlite:{}/p.db", folder.path().display())).await.unwrap();
    let (tokens, _stop) = on(&database).await;
    let (consumer, credential) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let document = |collection: &str, body: serde_json::Value| {
        let serde_json::Value::Object(body) = body else { panic!("an object") };
        store::Document::new(store::Collection::find(collection).unwrap(), body, None).unwrap()
    };
    let mut write = database.write().await.unwrap();
    write.insert(&document("consumers", json!({"id": consumer, "username": "c"}))).await.unwrap().unwrap();
    let application = json!({"id": credential, "client_id": "a", "consumer": {"id": consumer}});
    write.insert(&document("oauth2_credentials", application)).await.unwrap().unwrap();
    write.commit().await.unwrap();
    let mine = Token { credential, ..token("mine", Some("r"), None) };
    tokens.issue(mine.clone()).await.unwrap();
    tokens.issue(token("other", None, None)).await.unwrap();
    tokens.put_code(Code { credential, ..code("c") }).await.unwrap();
    let mut write = database.write().await.unwrap();
    write.delete("consumers", consumer).await.unwrap().unwrap();
    write.commit().await.unwrap();
    assert!(tokens.find(Name::Id(mine.id)).await.unwrap().is_none());
    assert!(tokens.code(&Digest::of("c"), 0).await.unwrap().is_none());
    until("memory forgets it", || tokens.lookup(&mine.access).is_none()).await;
    assert!(there(&*tokens, "other").await);
}

/// A database that is gone: known tokens stay good, unknown ones are a fault and not a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = store::open(&format!("sqlite:{}/p.db", folder.path().display())).await.unwrap();
    let (tokens, _stop) = on(&database).await;
    tokens.issue(token("known", None, None)).await.unwrap();
    database.close().await;
    assert!(tokens.lookup(&Digest::of("known")).is_some());
    assert!(tokens.fetch(&Digest::of("unknown")).await.is_err());
    assert!(tokens.issue(token("more", None, None)).await.is_err());
}
