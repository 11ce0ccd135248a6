//! Credentials, tokens and certificates.

use super::*;

#[test]
fn jwt_secrets() {
    let consumer = json!({"id": ID});
    let plain = insert(Kind::JwtSecret, json!({"consumer": consumer}));
    assert_eq!(plain["key"].as_str().map(str::len), Some(32));
    assert_eq!(plain["secret"].as_str().map(str::len), Some(32));
    assert_eq!(plain["algorithm"], "HS256");
    let nulls = insert(Kind::JwtSecret, json!({"consumer": consumer, "key": null, "secret": null}));
    assert_eq!((&nulls["key"], &nulls["secret"]), (&json!(null), &json!(null)));

    for (algorithm, key) in
        [("RS256", RSA), ("RS256", EC), ("PS512", RSA), ("EdDSA", ED25519), ("ES256", EC), ("ES256", "bad")]
    {
        insert(Kind::JwtSecret, json!({"consumer": consumer, "algorithm": algorithm, "rsa_public_key": key}));
    }
    insert(Kind::JwtSecret, json!({"consumer": consumer, "algorithm": "ES256"}));
    insert(
        Kind::JwtSecret,
        json!({"consumer": consumer, "algorithm": "RS256", "rsa_public_key": certified("x", false).1}),
    );
    let entity = json!(["failed conditional validation given value of field 'algorithm'"]);
    for algorithm in ["RS256", "PS256", "EdDSA"] {
        let missing = refuse(Kind::JwtSecret, json!({"consumer": consumer, "algorithm": algorithm}));
        assert_eq!(
            missing.message(),
            "2 schema violations (failed conditional validation given value of field 'algorithm'; \
             rsa_public_key: required field missing)"
        );
        for key in ["junk", "{\"kty\":\"oct\"}", &RSA.replace('\n', "\\n"), &RSA.replace("pQIDAQAB", "pQIDAQ==")] {
            assert_eq!(
                faults(Kind::JwtSecret, json!({"consumer": consumer, "algorithm": algorithm, "rsa_public_key": key})),
                json!({"rsa_public_key": "invalid key", "@entity": entity}),
                "{key}"
            );
        }
    }
    assert_eq!(
        refuse(Kind::JwtSecret, json!({"consumer": consumer, "algorithm": "none"})).message(),
        "schema violation (algorithm: expected one of: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, \
         PS512, EdDSA)"
    );
    assert_eq!(
        refuse(Kind::JwtSecret, json!({"key": "tl"})).message(),
        "schema violation (consumer: required field missing)"
    );
    assert_eq!(faults(Kind::JwtSecret, json!({"key": 5, "consumer": consumer})), json!({"key": "expected a string"}));
    assert_eq!(
        update(Kind::JwtSecret, &plain, json!({"algorithm": "RS256"})),
        Err(json!({"rsa_public_key": "required field missing", "@entity": entity}))
    );
    assert_eq!(
        faults(Kind::JwtSecret, json!({"consumer": {"id": "x"}})),
        json!({"consumer": {"id": "expected a valid UUID"}})
    );
    assert_eq!(faults(Kind::JwtSecret, json!({"consumer": {}})), json!({"consumer": {"id": "missing primary key"}}));
}

#[test]
fn api_keys_and_applications() {
    let consumer = json!({"id": ID});
    assert_eq!(insert(Kind::KeyAuthCredential, json!({"consumer": consumer, "ttl": 100}))["ttl"], 100);
    assert_eq!(
        faults(Kind::KeyAuthCredential, json!({"consumer": consumer, "ttl": -1})),
        json!({"ttl": "must be an integer between 0 and 100000000"})
    );
    assert_eq!(
        faults(Kind::Oauth2Credential, json!({"consumer": consumer})),
        json!({"name": "required field missing"})
    );
    assert_eq!(
        faults(
            Kind::Oauth2Credential,
            json!({"consumer": consumer, "name": "n", "client_type": "x",
                                              "redirect_uris": ["http://valid.test", "not-valid", "http://test.test/#with-fragment"]})
        ),
        json!({"client_type": "expected one of: confidential, public",
               "redirect_uris": [null, "cannot parse 'not-valid'", "fragment not allowed in 'http://test.test/#with-fragment'"]})
    );
    let plain = insert(Kind::Oauth2Credential, json!({"consumer": consumer, "name": "n", "redirect_uris": []}));
    assert_eq!((&plain["redirect_uris"], &plain["client_type"]), (&json!([]), &json!("confidential")));
    for patch in [json!({"client_secret": "x"}), json!({"hash_secret": true})] {
        assert_eq!(
            update(Kind::Oauth2Credential, &plain, patch),
            Err(json!({"@entity": ["all or none of these fields must be set: 'hash_secret', 'client_secret'"]}))
        );
    }
    assert_eq!(update(Kind::Oauth2Credential, &plain, json!({"name": "renamed"})).unwrap()["name"], "renamed");

    let mut hashed = object(insert(
        Kind::Oauth2Credential,
        json!({"consumer": consumer, "name": "n", "client_secret": "hs", "hash_secret": true}),
    ));
    assert_eq!(hashed["client_secret"], "hs");
    table(Kind::Oauth2Credential).transform(&mut hashed);
    let stored = hashed["client_secret"].as_str().unwrap().to_owned();
    assert!(stored.starts_with("$pbkdf2-sha512$i=10000,l=32$"), "{stored}");
    assert_eq!(stored.split('$').map(str::len).collect::<Vec<_>>(), [0, 13, 12, 22, 43]);
    table(Kind::Oauth2Credential).transform(&mut hashed);
    assert_eq!(hashed["client_secret"], stored.as_str(), "doing it again changes nothing");
    hashed.insert("client_secret".to_owned(), json!("$pbkdf2-sha512$mine"));
    table(Kind::Oauth2Credential).transform(&mut hashed);
    assert_ne!(hashed["client_secret"], "$pbkdf2-sha512$mine", "what only looks like a hash is hashed");

    let token =
        table(Kind::Oauth2Token).insert(object(json!({"credential": {"id": ID}, "expires_in": 3600})), NOW).unwrap();
    assert_eq!(token["access_token"].as_str().map(str::len), Some(32));
    assert_eq!(
        (&token["token_type"], &token["ttl"], &token["service"]),
        (&json!("bearer"), &json!(null), &json!(null))
    );
    let empty = table(Kind::Oauth2Token).insert(Document::new(), NOW).unwrap_err();
    assert_eq!(
        Value::Object(empty.fields),
        json!({"credential": "required field missing", "expires_in": "required field missing"})
    );
}

#[test]
fn certificates() {
    let (cert, key) = certified("a.test", false);
    let (other, other_key) = certified("b.test", false);
    assert_eq!(
        faults(Kind::Certificate, json!({"cert": cert, "key": other_key})),
        json!({"@entity": ["certificate does not match key"]})
    );
    let bad = faults(Kind::Certificate, json!({"cert": "x", "key": "y"}));
    assert!(bad["cert"].as_str().unwrap().starts_with("invalid certificate: "));
    assert!(bad["key"].as_str().unwrap().starts_with("invalid key: "));
    assert_eq!(
        faults(Kind::Certificate, json!({"cert": cert, "key": key, "cert_alt": other})),
        json!({"@entity": ["all or none of these fields must be set: 'cert_alt', 'key_alt'",
                           "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided \
                            certificates were both of the same type"]})
    );
    insert(Kind::Certificate, json!({"cert": format!("{cert}{other}"), "key": key}));
    insert(Kind::Certificate, json!({"cert": "{vault://env/cert}", "key": "{vault://env/key}"}));

    let sni = |name: &str| faults(Kind::Sni, json!({"name": name, "certificate": {"id": ID}}))["name"].clone();
    assert_eq!(sni("127.0.0.1"), "must not be an IP");
    assert_eq!(sni("a.test:80"), "must not have a port");
    assert_eq!(sni("a.*.test"), "wildcard must be leftmost or rightmost character");
    assert_eq!(sni("*.a.*"), "only one wildcard must be specified");
    insert(Kind::Sni, json!({"name": "*.a.test", "certificate": {"id": ID}}));

    let (authority, _) = certified("ca.test", true);
    let stored = insert(Kind::CaCertificate, json!({"cert": authority}));
    assert_eq!(stored["cert_digest"].as_str().map(str::len), Some(64));
    assert_eq!(
        faults(Kind::CaCertificate, json!({"cert": cert})),
        json!({"@entity": ["certificate does not appear to be a CA because it is missing the \"CA\" basic constraint"]})
    );
    assert_eq!(
        faults(Kind::CaCertificate, json!({"cert": format!("{authority}{authority}")})),
        json!({"@entity": ["please submit only one certificate at a time"]})
    );
    let late = table(Kind::CaCertificate)
        .insert(object(json!({"cert": authority})), Now::from_milliseconds(i64::MAX))
        .unwrap_err();
    assert_eq!(
        Value::Object(late.fields),
        json!({"@entity": ["certificate expired, \"Not After\" time is in the past"]})
    );
}
