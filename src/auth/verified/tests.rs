use super::*;
use crate::auth::directory::Directory;
use crate::auth::testing;
use crate::jose::{Algorithm, Compact, SigningKey, Value};

/// As a plugin does it.
fn verify_with(cache: &Verified, verifier: Verifier<'_>, token: &str) -> Outcome {
    let seen = cache.seen(token.as_bytes());
    let mut scratch = Vec::new();
    let parts = Compact::decode(token.as_bytes(), &mut scratch).unwrap();
    let parse = |part| Object::parse(part).unwrap();
    let (header, claims) = (parse(parts.header), parse(parts.payload));
    let parsed = Jws {
        registered: Registered::of(true, &claims),
        header: Header::Read(header),
        claims: Cow::Owned(claims),
        algorithm: Algorithm::Es256,
        signing_input: parts.signing_input,
        signature: parts.signature.unwrap_or_default(),
    };
    let remembered = seen.jws(token.as_bytes());
    if let Some(remembered) = &remembered {
        assert_eq!((&*remembered.header, &*remembered.claims), (&*parsed.header, &*parsed.claims));
        assert_eq!((remembered.signing_input, remembered.signature), (parsed.signing_input, parsed.signature));
        assert_eq!(seen.text().as_deref(), Some(token));
    }
    cache.verify(verifier, &seen, token.as_bytes(), remembered.as_ref().unwrap_or(&parsed))
}

fn verify(cache: &Verified, key: &VerificationKey, token: &str) -> Outcome {
    verify_with(cache, Verifier::Key(key), token)
}

#[test]
fn a_token_is_known_under_the_key_that_verified_it_and_no_other() {
    let signer = SigningKey::generate(Algorithm::Es256).unwrap();
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let [key, other_key] =
        [&signer, &other].map(|key| VerificationKey::from_pem(Algorithm::Es256, &key.public_pem().unwrap()).unwrap());
    let token = signer.sign(&Default::default(), &Default::default()).unwrap();
    let cache = Verified::new(1 << 20);

    assert_eq!(verify(&cache, &key, &token), Outcome { valid: true, cached: false });
    assert_eq!(verify(&cache, &key, &token), Outcome { valid: true, cached: true });
    assert_eq!(verify(&cache, &other_key, &token), Outcome { valid: false, cached: false });
    assert_eq!(verify(&cache, &other_key, &token), Outcome { valid: false, cached: false });
    let again = VerificationKey::from_pem(Algorithm::Es256, &signer.public_pem().unwrap()).unwrap();
    assert!(verify(&cache, &again, &token).cached, "the same key prepared again, as a reload does");

    // Any change makes another token: also one that leaves what is signed as it was.
    let mut changed = token.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'Q' } else { 'A' });
    assert!(!verify(&cache, &key, &changed).valid);
    let another = signer.sign(&Default::default(), &Default::default()).unwrap();
    assert_eq!(
        verify(&cache, &key, &another),
        Outcome { valid: true, cached: false },
        "another signature over the same claims"
    );
}

#[test]
fn a_secret_is_known_by_its_bytes_and_its_algorithm() {
    let cache = Verified::new(1 << 20);
    let verify =
        |secret: &[u8], algorithm, token: &str| verify_with(&cache, Verifier::Secret(algorithm, secret), token);
    let signer = SigningKey::from_secret(Algorithm::Hs256, b"a secret of thirty-two bytes ...").unwrap();
    let token = signer.sign(&Default::default(), &Default::default()).unwrap();
    let secret = b"a secret of thirty-two bytes ...";
    assert_eq!(verify(secret, Algorithm::Hs256, &token), Outcome { valid: true, cached: false });
    for _ in 0..3 {
        assert_eq!(verify(secret, Algorithm::Hs256, &token), Outcome { valid: true, cached: true });
    }
    assert!(cache.seen(token.as_bytes()).text().is_some());
    for (secret, algorithm) in [
        (&b"a secret of thirty-two bytes .."[..], Algorithm::Hs256),
        (secret, Algorithm::Hs384),
        (b"another secret of 32 bytes .....", Algorithm::Hs256),
        (b"", Algorithm::Hs256),
    ] {
        assert_eq!(verify(secret, algorithm, &token), Outcome { valid: false, cached: false });
    }
    // What is moved from one part to another makes another text; each process has a key of its own.
    let other = Verified::new(1 << 20);
    let tag = |cache: &Verified, token: &[u8], verifier| {
        let memory = cache.memory.as_ref().unwrap();
        memory.tag_of(&memory.print(token).unwrap(), verifier).unwrap()
    };
    let secret = |secret| Verifier::Secret(Algorithm::Hs256, secret);
    let long = [7; 1000];
    let tags = [
        tag(&cache, b"c", secret(b"ab")),
        tag(&cache, b"bc", secret(b"a")),
        tag(&cache, b"abc", secret(b"")),
        tag(&cache, b"c", Verifier::Secret(Algorithm::Hs384, b"ab")),
        tag(&cache, b"c", secret(&long)),
        tag(&cache, b"c", secret(&long[1..])),
        tag(&other, b"c", secret(b"ab")),
    ];
    let distinct: std::collections::HashSet<_> = tags.iter().collect();
    assert_eq!(distinct.len(), tags.len());
    assert_eq!(tag(&cache, b"c", secret(b"ab")), tags[0]);
}

#[test]
fn failures_are_not_remembered_and_the_size_is_bounded() {
    let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let key = VerificationKey::from_pem(Algorithm::EdDsa, &signer.public_pem().unwrap()).unwrap();
    let cache = Verified::new(1);
    assert!(!verify(&cache, &key, "e30.e30.AAAA").valid);
    assert!(cache.is_empty());
    for n in 0..500 {
        let claims = serde_json::Map::from_iter([("n".to_owned(), n.into())]);
        assert!(verify(&cache, &key, &signer.sign(&Default::default(), &claims).unwrap()).valid);
    }
    assert!(cache.len() <= 256, "{}", cache.len());
    assert!(!cache.is_empty());
    let off = Verified::new(0);
    let token = signer.sign(&Default::default(), &Default::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(verify(&off, &key, &token), Outcome { valid: true, cached: false });
    }
}

#[test]
fn a_token_is_read_once_when_it_comes_often_and_forgotten_when_memory_is_short() {
    let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let key = VerificationKey::from_pem(Algorithm::EdDsa, &signer.public_pem().unwrap()).unwrap();
    let token = |n: i32| {
        let claims =
            serde_json::Map::from_iter([("n".to_owned(), n.into()), ("of".to_owned(), "x".repeat(1000).into())]);
        signer.sign(&Default::default(), &claims).unwrap()
    };
    let cache = Verified::new(1 << 20);
    let first = token(0);
    assert!(verify(&cache, &key, &first).valid);
    assert!(cache.seen(first.as_bytes()).jws(first.as_bytes()).is_none(), "once is not often");
    assert!(verify(&cache, &key, &first).cached);
    let seen = cache.seen(first.as_bytes());
    let jws = seen.jws(first.as_bytes()).unwrap();
    assert_eq!(jws.claims.get("n").and_then(Value::as_f64), Some(0.0));
    assert_eq!(jws.algorithm, Algorithm::Es256, "as it was given");

    let (mut kept, tokens) = (0, 2000);
    for n in 1..=tokens {
        let token = token(n);
        for _ in 0..2 {
            assert!(verify(&cache, &key, &token).valid);
        }
        kept += i32::from(cache.seen(token.as_bytes()).text().is_some());
    }
    assert!(kept > 0);
    let often = &cache.memory.as_ref().unwrap().often;
    assert!(often.weight() <= (1 << 20), "{}", often.weight());
    assert!(often.len() < 300, "{}", often.len());
}

#[test]
fn tokens_that_come_in_turn_are_soon_verified_no_more() {
    let secret = b"a secret of thirty-two bytes ...";
    let signer = SigningKey::from_secret(Algorithm::Hs256, secret).unwrap();
    let claims = |n: u32| serde_json::Map::from_iter([("n".to_owned(), n.into())]);
    let tokens: Vec<_> = (0..3_000).map(|n| signer.sign(&Default::default(), &claims(n)).unwrap()).collect();
    let cache = Verified::default();
    let mut anew = Vec::new();
    for _ in 0..8 {
        let verify = |token: &&String| verify_with(&cache, Verifier::Secret(Algorithm::Hs256, secret), token);
        anew.push(tokens.iter().filter(|token| !verify(token).cached).count());
    }
    assert_eq!((anew[0], anew[7]), (3_000, 0), "{anew:?}");
    assert!(anew[1] < 300, "{anew:?}");
}

#[test]
fn a_full_table_takes_some_of_those_that_come_again() {
    let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let key = VerificationKey::from_pem(Algorithm::EdDsa, &signer.public_pem().unwrap()).unwrap();
    let tokens: Vec<_> = (0..4_000)
        .map(|n| signer.sign(&Default::default(), &serde_json::Map::from_iter([("n".to_owned(), n.into())])).unwrap())
        .collect();
    let cache = Verified::new(1 << 20);
    let known = |token: &String| cache.seen(token.as_bytes()).text().is_some();
    for token in &tokens {
        assert_eq!(verify(&cache, &key, token), Outcome { valid: true, cached: false });
    }
    let (early, late) = tokens.split_at(200);
    for token in early {
        // The signature of a few has gone: it is known from the next time on, and the token kept whole while there is room.
        assert!((0..2).any(|_| verify(&cache, &key, token).cached && known(token)));
    }
    assert!(!cache.memory.as_ref().unwrap().full.load(Relaxed));
    let kept = late.iter().filter(|token| verify(&cache, &key, token).cached && known(token)).count();
    // Until it is full all of them, and from then on one of eight.
    assert!((300..2_500).contains(&kept), "{kept}");
    assert!(cache.memory.as_ref().unwrap().full.load(Relaxed));
    // One that keeps coming gets in.
    let token = late.iter().rev().find(|token| !known(token)).unwrap();
    assert!((0..20).any(|_| verify(&cache, &key, token).cached && known(token)));
}

#[test]
fn a_decision_is_kept_in_place_of_what_a_token_says() {
    let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let key = VerificationKey::from_pem(Algorithm::EdDsa, &signer.public_pem().unwrap()).unwrap();
    let token: Arc<str> = signer.sign(&Default::default(), &Default::default()).unwrap().into();
    let cache = Verified::new(1 << 20);
    let directory = Directory::default();
    let sent = testing::get().in_force(1);
    let request = sent.request(&directory);
    let consumer = Arc::new(testing::consumer(1, Some("alice"), None));
    let plugins = [0_u64; 20];
    let bases = plugins.each_ref().map(|plugin| Basis::new(&request, plugin, 0).unwrap());
    // What a plugin does that finds no decision; whether the signature was known.
    let decide = |basis: &Basis, decided_by: Option<&Basis>| {
        let mut seen = cache.seen(token.as_bytes());
        seen.set_basis(Some(basis));
        let mut scratch = Vec::new();
        let jws = seen.jws(token.as_bytes());
        let was_read = jws.is_some();
        let jws = jws.unwrap_or_else(|| Jws::parse(token.as_bytes(), &mut scratch).unwrap());
        let outcome = cache.verify(Verifier::Key(&key), &seen, token.as_bytes(), &jws);
        assert!(outcome.valid);
        let mut state = State::default();
        state.authenticate(Some(consumer.clone()), None);
        if let Some(basis) = decided_by {
            cache.keep(&seen, &token, *basis, &state);
        }
        (outcome.cached, was_read)
    };
    let is_decided = |basis: &Basis| cache.seen(token.as_bytes()).decided(basis).is_some();
    assert_eq!(decide(&bases[0], Some(&bases[0])), (false, false));
    assert!(!is_decided(&bases[0]), "once is not often");
    for basis in &bases[..16] {
        assert_eq!(decide(basis, Some(basis)), (true, false));
        assert!(is_decided(basis));
    }
    // There is no room for more decisions: what it says is kept, and the decisions stay.
    assert_eq!(decide(&bases[16], Some(&bases[16])), (true, false));
    assert_eq!(decide(&bases[17], Some(&bases[17])), (true, true));
    assert!(!is_decided(&bases[16]) && bases[..16].iter().all(is_decided));
    let other = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let other = VerificationKey::from_pem(Algorithm::EdDsa, &other.public_pem().unwrap()).unwrap();
    assert!(!verify(&cache, &other, &token).valid, "the decisions are not about this key");
    let full = cache.memory.as_ref().unwrap().full.load(Relaxed);
    assert!(!full, "an entry that takes the place of one of the same token drives none out");
}

#[test]
fn what_is_read_is_good_for_the_key_that_verified_it_alone() {
    let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let other = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let [key, other] = [signer.public_pem(), other.public_pem()]
        .map(|pem| VerificationKey::from_pem(Algorithm::EdDsa, &pem.unwrap()).unwrap());
    let token = signer.sign(&Default::default(), &Default::default()).unwrap();
    let cache = Verified::new(1 << 20);
    for _ in 0..3 {
        assert!(verify(&cache, &key, &token).valid);
    }
    assert!(cache.seen(token.as_bytes()).text().is_some());
    assert_eq!(verify(&cache, &other, &token), Outcome { valid: false, cached: false });
    let secret = Verifier::Secret(Algorithm::Hs256, key.identity());
    assert_eq!(verify_with(&cache, secret, &token), Outcome { valid: false, cached: false });
    assert_eq!(verify(&cache, &key, &token), Outcome { valid: true, cached: true });
}
