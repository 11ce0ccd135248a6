//! The lint.

use super::*;

fn lint(text: &str) -> Vec<(String, String)> {
    let options = Options { keep_places: true, ..options() };
    let loaded = load_text("kong.yml", format!("_format_version: '3.0'\n{text}"), &options)
        .unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics));
    let found = loaded.lint(options.now);
    assert!(found.iter().all(|diagnostic| diagnostic.help.is_some() && !diagnostic.is_error()));
    found.into_iter().map(|diagnostic| (diagnostic.code.to_owned(), diagnostic.to_string())).collect()
}

fn codes(text: &str) -> Vec<String> {
    lint(text).into_iter().map(|(code, _)| code).collect()
}

const GOOD: &str = "consumers:\n- username: u\n  jwt_secrets:\n  - {key: k, secret: 0123456789abcdef0123456789abcdef}\nroutes:\n- name: r\n  paths: [/a]\n  protocols: [https]\n  plugins:\n  - name: jwt\n    config: {claims_to_verify: [exp], uri_param_names: []}\n";

#[test]
fn a_good_configuration_has_none() {
    assert_eq!(codes(GOOD), [""; 0]);
}

#[test]
fn each_trap_is_found_at_its_place() {
    for (from, to, code, place) in [
        (
            "claims_to_verify: [exp], ",
            "",
            "exp-not-verified",
            "kong.yml:12:13: routes[0].plugins[0].config.claims_to_verify: 'exp' is not verified",
        ),
        (
            "uri_param_names: []",
            "uri_param_names: [t]",
            "token-in-query",
            "kong.yml:12:39: routes[0].plugins[0].config.uri_param_names",
        ),
        (
            "[https]",
            "[http, https]",
            "plain-http",
            "kong.yml:9:3: routes[0].protocols: credentials are accepted over plain HTTP on this route",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "short",
            "weak-secret",
            "kong.yml:5:14: consumers[0].jwt_secrets[0].secret: the secret has 5 bytes; HS256 needs 32",
        ),
        (
            "name: jwt\n    config: {",
            "name: jwt\n    config: {anonymous: nobody, ",
            "unknown-anonymous",
            "kong.yml:12:14: routes[0].plugins[0].config.anonymous: there is no consumer 'nobody'",
        ),
        (
            "name: jwt\n    config: {",
            "name: jwt\n    config: {anonymous: u, ",
            "anonymous-open",
            "kong.yml:12:14: routes[0].plugins[0].config.anonymous: requests without a valid credential pass, as consumer 'u'",
        ),
    ] {
        let found = lint(&GOOD.replace(from, to));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, code);
        assert!(found[0].1.starts_with(place), "{found:?}");
    }
}

#[test]
fn anonymous_with_a_termination_is_meant() {
    let text = GOOD.replace("name: jwt\n    config: {", "name: jwt\n    config: {anonymous: u, ");
    assert_eq!(codes(&format!("{text}plugins: [{{name: request-termination, consumer: u}}]\n")), [""; 0]);
    assert_eq!(
        codes(&format!("{text}plugins: [{{name: request-termination, consumer: u, enabled: false}}]\n")),
        ["anonymous-open"]
    );
}

#[test]
fn secrets_and_routes_of_several_consumers() {
    let two = GOOD.replace(
        "consumers:\n",
        "consumers:\n- username: v\n  jwt_secrets:\n  - {key: l, secret: 0123456789abcdef0123456789abcdef}\n",
    );
    let found = lint(&two);
    assert_eq!(found.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), ["shared-secret", "any-consumer"]);
    assert!(
        found[0].1.starts_with("kong.yml:5:14: consumers[0].jwt_secrets[0].secret: 2 consumers have the same secret"),
        "{found:?}"
    );
    assert!(found[1].1.contains("each of the 2 consumers with a jwt credential opens this route"), "{found:?}");
    assert!(!format!("{found:?}").contains("0123456789abcdef"));
    // A plugin for one consumer narrows.
    let narrowed = format!("{two}plugins: [{{name: request-termination, consumer: v, route: r}}]\n");
    assert_eq!(codes(&narrowed), ["shared-secret"]);
}

#[test]
fn short_rsa_keys() {
    // RSA, 1024 bits.
    let pem = "-----BEGIN PUBLIC KEY-----\\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugdUWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdbH6dvEOfou0/gCFQsHUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5Do2kQ+X5xK9cipRgEKwIDAQAB\\n-----END PUBLIC KEY-----";
    let text = GOOD.replace(
        "{key: k, secret: 0123456789abcdef0123456789abcdef}",
        &format!("{{key: k, algorithm: RS256, rsa_public_key: \"{pem}\"}}"),
    );
    let found = lint(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("consumers[0].jwt_secrets[0].rsa_public_key: the RSA key has 1024 bits"), "{found:?}");
}

#[test]
fn many_of_a_kind_are_counted() {
    let secrets: String = (0..50).map(|n| format!("  - {{key: k{n}, secret: short{n}}}\n")).collect();
    let found = lint(&format!("consumers:\n- username: u\n  jwt_secrets:\n{secrets}"));
    assert_eq!(found.len(), 20);
    assert!(found.iter().any(|(_, text)| text.contains("(and so it is with 30 more)")), "{found:?}");
}

#[test]
fn certificates_that_end() {
    let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2023, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2023, 11, 20);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let indent = |pem: String| pem.trim_end().replace('\n', "\n    ");
    let text = format!(
        "certificates:\n- cert: |\n    {}\n  key: |\n    {}\n",
        indent(certificate.pem()),
        indent(key.serialize_pem())
    );
    // The clock of these tests stands at 14 November 2023.
    let found = lint(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, "kong.yml:3:3: certificates[0].cert: the certificate ends in 5 days (replace it)");
}
