use super::*;
use uuid::Uuid;

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
        purge_at: Some(1000),
        code: code.map(Digest::of),
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

#[tokio::test]
async fn a_rotation_succeeds_once() {
    let store = LocalTokens::in_memory();
    store.issue(token("a1", Some("r1"), None)).await.unwrap();
    let refresh = Digest::of("r1");
    assert!(store.rotate(&refresh, token("a2", Some("r2"), None)).await.unwrap());
    assert!(!store.rotate(&refresh, token("a3", Some("r3"), None)).await.unwrap());
    assert!(store.lookup(&Digest::of("a1")).is_none() && store.lookup(&Digest::of("a3")).is_none());
    assert!(store.lookup(&Digest::of("a2")).is_some());
    // With the same refresh token (reuse_refresh_token) it can be repeated.
    let refresh = Digest::of("r2");
    assert!(store.rotate(&refresh, token("a4", Some("r2"), None)).await.unwrap());
    assert!(store.rotate(&refresh, token("a5", Some("r2"), None)).await.unwrap());
    assert!(store.lookup(&Digest::of("a4")).is_none() && store.by_refresh(&refresh).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_redemptions_one_succeeds() {
    let store = Arc::new(LocalTokens::in_memory());
    store.put_code(code("c")).await.unwrap();
    let tries = (0..1000).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.redeem(&Digest::of("c")).await.unwrap() })
    });
    let outcomes = futures::future::join_all(tries).await;
    let taken = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == Redemption::Taken).count();
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn a_replayed_code_ends_what_it_gave_out() {
    let store = LocalTokens::in_memory();
    store.issue(token("a", Some("r"), Some("c"))).await.unwrap();
    store.issue(token("other", None, None)).await.unwrap();
    assert!(store.rotate(&Digest::of("r"), token("a2", Some("r2"), Some("c"))).await.unwrap());
    let nobody = Spare { credential: Uuid::max(), since: 0 };
    let retry = Spare { credential: Uuid::nil(), since: 100 };
    store.revoke_issued_for(&Digest::of("c"), retry).await.unwrap();
    assert!(store.lookup(&Digest::of("a2")).is_some(), "the client itself asked again at once");
    store.revoke_issued_for(&Digest::of("c"), nobody).await.unwrap();
    assert!(store.lookup(&Digest::of("a2")).is_none() && store.by_refresh(&Digest::of("r2")).await.unwrap().is_none());
    assert!(store.lookup(&Digest::of("other")).is_some());
}

#[tokio::test]
async fn the_file_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let store = LocalTokens::in_file(&path, 100).unwrap();
    store.issue(token("a", Some("r"), None)).await.unwrap();
    store.put_code(code("kept")).await.unwrap();
    store.put_code(code("taken")).await.unwrap();
    store.redeem(&Digest::of("taken")).await.unwrap();
    store.rotate(&Digest::of("r"), token("b", Some("r2"), Some("kept"))).await.unwrap();
    drop(store);
    // A crash in the middle of a write.
    let mut text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("\"a\""), "tokens stand in the file as digests");
    text.push_str("{\"issue\":{\"id\":\"");
    std::fs::write(&path, text).unwrap();
    let store = LocalTokens::in_file(&path, 100).unwrap();
    assert!(store.lookup(&Digest::of("a")).is_none());
    assert_eq!(store.lookup(&Digest::of("b")).unwrap().userid.as_deref(), Some("u"));
    assert_eq!(store.redeem(&Digest::of("taken")).await.unwrap(), Redemption::Gone);
    assert!(store.code(&Digest::of("kept"), 399).await.unwrap().is_some());
    assert!(store.code(&Digest::of("kept"), 400).await.unwrap().is_none());
    // The file was written anew without the torn line.
    assert!(LocalTokens::in_file(&path, 100).is_ok());
    std::fs::write(&path, "nonsense\n{}\n").unwrap();
    assert!(matches!(LocalTokens::in_file(&path, 100), Err(JournalFault::Line { line: 1, .. })));
}

#[tokio::test]
async fn what_has_ended_is_swept() {
    let store = LocalTokens::in_memory();
    store.issue(token("short", None, None)).await.unwrap();
    store.issue(token("refreshable", Some("r"), None)).await.unwrap();
    store.sweep(120).unwrap();
    assert!(store.lookup(&Digest::of("short")).is_none());
    assert!(store.lookup(&Digest::of("refreshable")).is_some_and(|token| token.is_expired(120)));
    store.sweep(1000).unwrap();
    assert!(store.by_refresh(&Digest::of("r")).await.unwrap().is_none());
}
