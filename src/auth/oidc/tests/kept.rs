//! What is kept of a decision, and until when.

use super::*;

/// What was decided is kept for a generation and an edition of the keys.
#[tokio::test]
async fn what_was_decided_counts_until_something_is_another() {
    let idp = Idp::start().await;
    let registry = Arc::new(Registry::default());
    let compiled = |changes: Value| idp.try_plugin(changes, &registry).unwrap().0;
    let changes = json!({
        "rediscovery_lifetime": 0,
        "consumer_claim": ["sub"], "consumer_by": ["username"],
        "upstream_headers_claims": ["sub"], "upstream_headers_names": ["x-user"],
        "downstream_headers_claims": ["scope"], "downstream_headers_names": ["x-scope"],
    });
    let plugin = compiled(changes);
    let full = directory([], []);
    let nobody = Directory::default();
    let (alice, other) = (idp.token(json!({ "sub": "alice", "exp": NOW + 50 })), idp.token(json!({ "sub": "nobody" })));
    let told = |token: &str, directory: &Directory, generation: u64, now: u64| {
        let sent = get().bearer(token).header("x-user", "mallory").in_force(generation).at(now);
        let (mut state, request) = (State::default(), sent.request(directory));
        let refused = match plugin.access(&request, &mut state) {
            Flow::Next => None,
            Flow::Stop(rejection) => Some(rejection.reason.label().to_owned()),
            Flow::Wait(_) => Some("waits".to_owned()),
        };
        let passed = refused.unwrap_or_else(|| caller(&state));
        let set = state.set().map(|(name, value)| format!(" {name}: {}", value.to_str().unwrap()));
        let back = state.response().map(|(_, value)| format!(" back: {}", value.to_str().unwrap()));
        assert_eq!(state.guarded.as_deref().unwrap(), ["x-user"]);
        passed + &set.chain(back).collect::<String>()
    };
    assert!(send_to(&plugin, &get().bearer(&alice), &full).await.1.is_ok());
    let good = "alice/alice x-user: alice back: openid a";
    for _ in 0..3 {
        assert_eq!(told(&alice, &full, 7, NOW), good);
        assert_eq!(told(&other, &full, 7, NOW), "consumer_unknown", "what one token came to is not for another");
    }
    assert_eq!(told(&alice, &nobody, 7, NOW + 49), good, "within a generation the directory is the same");
    for generation in [8, 0] {
        assert_eq!(told(&alice, &nobody, generation, NOW), "consumer_unknown", "{generation}");
    }
    assert_eq!(told(&alice, &full, 7, NOW + 50), "expired");
    // When its key was used last is known to the minute, whoever decided.
    let lasting = idp.token(json!({ "sub": "alice", "exp": NOW + 500 }));
    for minute in [0, 0, 0, 60, 120, 180] {
        assert_eq!(told(&lasting, &full, 7, NOW + minute), good);
        assert_eq!(registry.key_uses.last(idp.issuer.as_str(), "one"), Some(NOW + minute));
    }
    // Beside another change of headers, or where the client's own line does not go on, nothing that was kept is used.
    assert_eq!(told(&alice, &full, 7, NOW), good);
    let sent = get().bearer(&alice).header("connection", "authorization").in_force(7);
    let mut state = State::default();
    assert!(matches!(plugin.access(&sent.request(&nobody), &mut state), Flow::Stop(_)));
    // A key id that somebody made up has the same keys fetched again.
    let (provider, before, mut rounds) = (registry.in_use().remove(0), registry.edition(), 0);
    let due = provider.history().next;
    while provider.history().next == due {
        drop(provider.ask(Some(&format!("made-up-{rounds}"))));
        tokio::time::sleep(Duration::from_millis(20)).await;
        rounds += 1;
        assert!(rounds < 500, "nothing was fetched");
    }
    assert_eq!(registry.edition(), before);
    assert_eq!(told(&alice, &nobody, 7, NOW), good, "what was decided is known still");
    // The key is withdrawn.
    idp.publish(&[ed_jwk(&new_key(), "two")]);
    let mut rounds = 0;
    while registry.edition() == before {
        drop(provider.ask(Some(&format!("k{rounds}"))));
        tokio::time::sleep(Duration::from_millis(100)).await;
        rounds += 1;
        assert!(rounds < 100, "nothing was fetched");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_ne!(told(&alice, &full, 7, NOW), good);
}
