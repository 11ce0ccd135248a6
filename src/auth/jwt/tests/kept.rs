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
    // Who looks again finds another secret.
    let mut changed = DIRECTORY.clone();
    let old = changed.jwt.get("k").map(|there| there.entity.clone());
    changed.remove_jwt(old.as_ref());
    changed.put_jwt(Arc::new(jwt_secret(1, 1, "k", Algorithm::Hs256, "another", None)), None, &mut Vec::new());
    assert_eq!(changed.jwt.place("k"), DIRECTORY.jwt.place("k"));
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
    let anew = refused("Invalid signature");
    for _ in 0..2 {
        assert_eq!(outcome(&usual, &DIRECTORY, 7, NOW), "alice/k");
    }
    // From the third time on nobody looks again: within a generation the directory is the same.
    assert_eq!(outcome(&usual, &changed, 7, NOW), "alice/k");
    assert_eq!(outcome(&usual, &changed, 7, NOW + 69), "alice/k");
    // Another plugin decides by itself, and takes nothing away.
    let beside = compiled(json!({}));
    assert_eq!(outcome(&beside, &changed, 7, NOW), anew);
    assert_eq!(outcome(&beside, &DIRECTORY, 7, NOW), "alice/k");
    for plugin in [&usual, &beside, &usual] {
        assert_eq!(outcome(plugin, &changed, 7, NOW), "alice/k");
    }
    let many: Vec<_> = (0..30).map(|_| compiled(json!({}))).collect();
    for plugin in &many {
        assert_eq!(outcome(plugin, &DIRECTORY, 7, NOW), "alice/k");
    }
    let kept = many.iter().filter(|plugin| outcome(plugin, &changed, 7, NOW) == "alice/k").count();
    assert!(kept > 25, "{kept} of those that need not lie in one line");
    // A request that began before a reload keeps what it decides to itself.
    assert_eq!(outcome(&usual, &DIRECTORY, 6, NOW), "alice/k");
    assert_eq!(outcome(&usual, &changed, 6, NOW), anew);
    // Another generation or plugin, or a snapshot that is not in force.
    for generation in [8, 0] {
        assert_eq!(outcome(&usual, &changed, generation, NOW), anew, "{generation}");
    }
    assert_eq!(outcome(&strict, &DIRECTORY, 7, NOW), refused_claims(r#"{"exp":"exceeds maximum allowed expiration"}"#));
    // It ends although it was let through.
    for _ in 0..3 {
        assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 69), "alice/k");
    }
    assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 70), refused_claims(r#"{"exp":"token expired"}"#));
    assert_eq!(outcome(&usual, &DIRECTORY, 9, NOW + 69), "alice/k");
}

/// The seconds in which a decision counts are those in which the comparisons find nothing: all of them, or of fractions all but one.
#[test]
fn a_window_is_what_the_comparisons_say() {
    let times = |of: &Json| {
        let claims = of.to_string();
        let claims = crate::jose::Object::parse(claims.as_bytes()).unwrap();
        Registered::of(true, &claims)
    };
    let moments = [
        json!(null),
        json!("12"),
        json!(-7),
        json!(0),
        json!(95),
        json!(99.5),
        json!(100),
        json!(130.25),
        json!(1e300),
    ];
    let mut kept = 0;
    for claims in [json!([]), json!(["exp"]), json!(["nbf"]), json!(["nbf", "exp"])] {
        for maximum in [0.0_f64, 10.0, 0.5, 31.75, 5000.0] {
            let plugin = plugin(json!({ "claims_to_verify": claims, "maximum_expiration": maximum }));
            for (exp, nbf) in moments.iter().flat_map(|exp| moments.iter().map(move |nbf| (exp, nbf))) {
                let times = times(&json!({ "exp": exp, "nbf": nbf }));
                let window = plugin.window(&times);
                let mut narrower = 0;
                for now in 80..140 {
                    let good = plugin.check_times(&times, now, &mut NoTrace).is_ok();
                    assert!(good || !window.contains(now), "{claims} {maximum} {exp} {nbf} {now}");
                    narrower += u32::from(good && !window.contains(now));
                    kept += u32::from(window.contains(now));
                }
                let of_fractions = maximum.fract() != 0.0 || exp.as_f64().is_some_and(|exp| exp.fract() != 0.0);
                assert!(narrower <= u32::from(of_fractions), "{claims} {maximum} {exp} {nbf}: {narrower}");
            }
        }
    }
    assert!(kept > 10_000, "{kept}");
}
