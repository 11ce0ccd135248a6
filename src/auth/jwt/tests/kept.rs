//! What is kept of a decision, and until when.

use super::*;

/// What was decided is kept for a generation, and the times of the token count all the while.
#[test]
fn what_was_decided_counts_until_something_is_another() {
    let lent = Lent::default();
    let compiled = |changes: Json| {
        let mut config =
            json!({ "key_claim_name": "iss", "header_names": ["authorization"], "claims_to_verify": ["exp"] });
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Jwt::compile(config.as_object().unwrap(), lent.clone()).unwrap()
    };
    let (usual, strict) = (compiled(json!({})), compiled(json!({ "maximum_expiration": 5 })));
    let sent = get().bearer(&signed(&format!(r#"{{"iss":"k","exp":{}}}"#, NOW + 70)));
    let nobody = directory([], []);
    let outcome = |plugin: &Jwt, directory: &Directory, generation: u64, now: u64| {
        let sent = sent.clone().in_force(generation).at(now);
        let (mut state, request) = (State::default(), sent.request(directory));
        let result = match plugin.access(&request, &mut state) {
            Flow::Next => Ok(()),
            Flow::Stop(rejection) => Err(rejection),
            Flow::Wait(_) => panic!("nothing to wait for"),
        };
        result.map_or_else(|rejection| shown(&rejection), |()| caller(&state))
    };
    let unknown = refused("No credentials found for given 'iss'");
    for _ in 0..2 {
        assert_eq!(outcome(&usual, &DIRECTORY, 7, NOW), "alice/k");
    }
    // From the third time on nobody looks again: within a generation the directory is the same.
    assert_eq!(outcome(&usual, &nobody, 7, NOW), "alice/k");
    assert_eq!(outcome(&usual, &nobody, 7, NOW + 69), "alice/k");
    // Another plugin decides by itself, and takes nothing away.
    let beside = compiled(json!({}));
    assert_eq!(outcome(&beside, &nobody, 7, NOW), unknown);
    assert_eq!(outcome(&beside, &DIRECTORY, 7, NOW), "alice/k");
    for plugin in [&usual, &beside, &usual] {
        assert_eq!(outcome(plugin, &nobody, 7, NOW), "alice/k");
    }
    // Those that there is no more room for go on deciding.
    let many: Vec<_> = (0..30).map(|_| compiled(json!({}))).collect();
    for plugin in &many {
        assert_eq!(outcome(plugin, &DIRECTORY, 7, NOW), "alice/k");
    }
    let kept = many.iter().filter(|plugin| outcome(plugin, &nobody, 7, NOW) == "alice/k").count();
    assert_eq!(kept, 14, "sixteen with the first two");
    assert_eq!(outcome(&usual, &nobody, 7, NOW), "alice/k");
    // A request that began before a reload keeps what it decides to itself.
    assert_eq!(outcome(&many[20], &DIRECTORY, 6, NOW), "alice/k");
    assert_eq!(outcome(&many[20], &nobody, 6, NOW), unknown);
    // Another generation or plugin, or a snapshot that is not in force.
    for generation in [8, 0] {
        assert_eq!(outcome(&usual, &nobody, generation, NOW), unknown, "{generation}");
    }
    assert_eq!(outcome(&strict, &DIRECTORY, 7, NOW), refused_claims(r#"{"exp":"exceeds maximum allowed expiration"}"#));
    // It ends although it was let through.
    for _ in 0..3 {
        assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 69), "alice/k");
    }
    assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 70), refused_claims(r#"{"exp":"token expired"}"#));
    assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 69), "alice/k");
}
