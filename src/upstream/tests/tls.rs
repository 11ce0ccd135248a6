//! TLS towards services: trust, server names, client certificates.

use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::ALPN;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, authority).unwrap(), key)
}

/// A TLS server for `a.test`; tells whether clients showed a certificate, and which server name they asked for.
async fn server(authority: &CertifiedIssuer<'_, KeyPair>, seen: Arc<Mutex<Vec<(String, bool)>>>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (certificate, key) = issue(authority, "a.test");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(connection).await else { return };
                let (_, session) = stream.get_ref();
                let name = session.server_name().unwrap_or_default().to_owned();
                seen.lock().push((name, session.peer_certificates().is_some()));
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 16]).await;
            });
        }
    });
    port
}

fn with_authority(dataset: &mut Dataset, authority: &CertifiedIssuer<'_, KeyPair>) -> uuid::Uuid {
    let fields = json!({"cert": authority.pem(), "cert_digest": "x"});
    put(dataset, Kind::CaCertificate, r#"{"created_at": 0, "updated_at": 0, "tags": null}"#, fields);
    dataset.ca_certificates.last().unwrap().id
}

fn with_certificate(dataset: &mut Dataset, certificate: &rcgen::Certificate, key: &KeyPair) -> uuid::Uuid {
    const DEFAULTS: &str = r#"{"created_at": 0, "updated_at": 0, "tags": null, "cert_alt": null, "key_alt": null}"#;
    let fields = json!({"cert": certificate.pem(), "key": key.serialize_pem()});
    put(dataset, Kind::Certificate, DEFAULTS, fields);
    dataset.certificates.last().unwrap().id
}

/// A configuration with an https service over the authorities' certificates.
fn https(port: u16, fields: Value) -> Dataset {
    let mut all = json!({"protocol": "https", "host": "a.test", "port": port});
    merge(&mut all, fields);
    service(all)
}

#[tokio::test]
async fn services_are_verified_as_told() {
    let (registry, table) = registry();
    table.set("a.test", &["127.0.0.1"]);
    table.set("b.test", &["127.0.0.1"]);
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let seen = Arc::new(Mutex::default());
    let port = server(&ours, Arc::clone(&seen)).await;
    let connector = Connector::new(None);
    let mut store = Dataset::default();
    let (our_id, their_id) = (with_authority(&mut store, &ours), with_authority(&mut store, &theirs));
    let mut group_keys = Vec::new();
    let cases = [
        (json!({}), true, "not verified by default"),
        (json!({"tls_verify": true}), false, "the system does not know the authority"),
        (json!({"tls_verify": true, "ca_certificates": [our_id]}), true, "the right authority"),
        (json!({"tls_verify": true, "ca_certificates": [their_id]}), false, "another one"),
        (json!({"tls_verify": true, "ca_certificates": [our_id], "host": "b.test"}), false, "another name"),
    ];
    for (fields, connects, what) in cases {
        let mut dataset = https(port, fields);
        dataset.ca_certificates = store.ca_certificates.clone();
        let compiled = compile(&registry, &dataset);
        assert!(compiled.diagnostics.is_empty(), "{what}: {:?}", compiled.diagnostics);
        let picked = compiled.pick().unwrap();
        assert_eq!(picked.peer.options.alpn, ALPN::H1);
        let result = connector.get_http_session(&*picked.peer).await;
        assert_eq!(result.is_ok(), connects, "{what}: {:?}", result.err());
        group_keys.push(picked.peer.group_key);
    }
    group_keys.truncate(4);
    group_keys.sort_unstable();
    group_keys.dedup();
    assert_eq!(group_keys.len(), 4, "connections are not shared between them");
    assert!(seen.lock().iter().all(|(name, _)| name == "a.test" || name == "b.test"));
}

#[tokio::test]
async fn client_certificates_and_preserved_hosts() {
    let (registry, table) = registry();
    table.set("a.test", &["127.0.0.1"]);
    let ours = authority("ours");
    let seen = Arc::new(Mutex::<Vec<(String, bool)>>::default());
    let port = server(&ours, Arc::clone(&seen)).await;
    let (certificate, key) = issue(&ours, "client");
    let mut dataset = Dataset::default();
    let id = with_certificate(&mut dataset, &certificate, &key);
    let certificates = dataset.certificates;

    let mut dataset = https(port, json!({"client_certificate": {"id": id}}));
    dataset.certificates = certificates.clone();
    let compiled = compile(&registry, &dataset);
    let headers = HeaderMap::new();
    let preserving = HashInput { preserved_host: Some("Client.Test:8443"), ..input(&headers) };
    let picked = compiled.destination.pick(&preserving, &mut Attempts::default()).unwrap();
    Connector::new(None).get_http_session(&*picked.peer).await.unwrap();
    eventually("seen", || seen.lock().contains(&("client.test".into(), true))).await;

    // Of the upstream, where the service has none; and used for nothing in plain text.
    let mut dataset = service(json!({"protocol": "https", "host": "up"}));
    let target = format!("a.test:{port}");
    add_upstream(&mut dataset, json!({"client_certificate": {"id": id}}), &[(&target, 1)]);
    dataset.certificates = certificates;
    let compiled = compile(&registry, &dataset);
    let picked = compiled.pick().unwrap();
    assert!(picked.peer.client_cert_key.is_some());
    assert_eq!(picked.peer.sni, "a.test");
    Connector::new(None).get_http_session(&*picked.peer).await.unwrap();
    eventually("seen", || seen.lock().contains(&("a.test".into(), true))).await;
}

#[test]
fn material_that_cannot_be_used_is_an_error() {
    let (registry, _) = registry();
    let ours = authority("ours");
    let ((certificate, _), (_, other_key)) = (issue(&ours, "a"), issue(&ours, "b"));
    let mut dataset = Dataset::default();
    let mismatched = with_certificate(&mut dataset, &certificate, &other_key);
    put(
        &mut dataset,
        Kind::CaCertificate,
        r#"{"created_at": 0, "updated_at": 0, "tags": null, "cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cert_digest": "x"}"#,
        json!({}),
    );
    let broken = dataset.ca_certificates[0].id;
    let fields = json!({"tls_verify": true, "ca_certificates": [broken], "client_certificate": {"id": mismatched}});
    let mut with = https(443, fields);
    with.certificates = dataset.certificates;
    with.ca_certificates = dataset.ca_certificates;
    let compiled = compile(&registry, &with);
    let codes: Vec<_> = compiled.diagnostics.iter().map(|d| (d.code, d.is_error())).collect();
    assert_eq!(codes, [("ca-certificate", true), ("client-certificate", true)]);
    assert!(!format!("{:?}", compiled.diagnostics).contains("PRIVATE"), "no secret is shown");
}

#[test]
fn traps_are_warned_of() {
    let (registry, _) = registry();
    let authority = authority("ours");
    let mut store = Dataset::default();
    let id = with_authority(&mut store, &authority);
    let mut dataset = https(443, json!({"ca_certificates": [id]}));
    dataset.ca_certificates = store.ca_certificates;
    let compiled = compile(&registry, &dataset);
    assert_eq!(compiled.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["tls-not-verified"]);
    let compiled = compile(&registry, &https(443, json!({"tls_verify": true, "tls_verify_depth": 1})));
    assert_eq!(compiled.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["tls-verify-depth"]);
}

#[test]
fn grpc_services_speak_http_2_only() {
    let (registry, _) = registry();
    for (protocol, tls) in [("grpc", false), ("grpcs", true)] {
        let picked = compile(&registry, &service(json!({"protocol": protocol}))).pick().unwrap();
        assert_eq!((picked.peer.is_tls(), &picked.peer.options.alpn), (tls, &ALPN::H2));
        assert_eq!(picked.peer.options.max_h2_streams, 100);
    }
}
