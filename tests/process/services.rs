//! What services see of the process's own settings.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

use crate::support::{Place, configuration, eventually, get};

/// A self-signed certificate: PEM, key in PEM, DER.
fn certificate(name: &str) -> (String, String, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().clone())
}

/// A TLS service, for `localhost`, that asks for a certificate and remembers which it is shown.
struct Asking {
    port: u16,
    seen: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    /// Its own certificate, in PEM.
    certificate: String,
}

fn asking_service(trusted: &[rustls::pki_types::CertificateDer<'static>]) -> Asking {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    trusted.iter().for_each(|der| roots.add(der.clone()).unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![own.cert.der().clone()],
            PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            if stream.conn.complete_io(&mut stream.sock).is_ok() {
                let peer = stream.conn.peer_certificates().map(|chain| chain[0].to_vec());
                shown.lock().unwrap().push(peer);
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = std::io::Write::write_all(&mut stream, answer);
            }
        }
    });
    Asking { port, seen, certificate: own.cert.pem() }
}

/// `client_ssl`: the default certificate for services, and a reload that brings another.
#[test]
fn services_are_shown_the_certificate_of_the_settings() {
    let ((cert, key, der), (newer_cert, newer_key, newer)) = (certificate("one"), certificate("two"));
    let Asking { port, seen, .. } = asking_service(&[der.clone(), newer.clone()]);
    let settings = [("CLIENT_SSL", "on"), ("CLIENT_SSL_CERT", "client.pem"), ("CLIENT_SSL_CERT_KEY", "client.key")];
    let prepared = |settings: &[(&str, &str)]| {
        let place = Place::new(settings);
        let asking =
            format!("- name: tls\n  url: https://127.0.0.1:{port}\n  routes:\n  - name: tls\n    paths: [/tls]\n");
        place.configure(&(configuration("one", place.service) + &asking));
        std::fs::write(place.path("client.pem"), &cert).unwrap();
        std::fs::write(place.path("client.key"), &key).unwrap();
        place
    };
    let last = || seen.lock().unwrap().last().cloned().flatten();
    let place = prepared(&settings);
    let gateway = place.start();
    assert_eq!(get(gateway.proxy(), "/tls").0, 200);
    assert_eq!(last(), Some(der.to_vec()));
    std::fs::write(place.path("client.pem"), newer_cert).unwrap();
    std::fs::write(place.path("client.key"), newer_key).unwrap();
    gateway.signal(Signal::HUP);
    eventually("the newer certificate is shown", || {
        assert_eq!(get(gateway.proxy(), "/tls").0, 200);
        last() == Some(newer.to_vec())
    });
    // A broken one changes nothing and is said.
    std::fs::write(place.path("client.key"), "no key").unwrap();
    gateway.signal(Signal::HUP);
    eventually("it is said", || gateway.log().contains("the certificate for services stays as it was"));
    assert_eq!(get(gateway.proxy(), "/tls").0, 200);
    assert_eq!(last(), Some(newer.to_vec()));
    // The control: without the settings none is shown.
    let place = prepared(&[]);
    let gateway = place.start();
    assert_eq!(get(gateway.proxy(), "/tls").0, 200);
    assert_eq!(last(), None);
}

/// `lua_ssl_trusted_certificate`: several files count together, the system's store beside them, for requests and for probes.
#[test]
fn services_are_verified_against_all_that_is_trusted() {
    let Asking { port, seen, certificate: own } = asking_service(&[certificate("nobody").2]);
    let started = |trusted: &str| {
        let place = Place::new(&[("LUA_SSL_TRUSTED_CERTIFICATE", trusted)]);
        std::fs::write(place.path("own.pem"), &own).unwrap();
        std::fs::write(place.path("other.pem"), certificate("other").0).unwrap();
        let more = format!(
            r#"
- name: verified
  url: https://localhost:{port}
  tls_verify: true
  routes: [{{name: verified, paths: [/verified]}}]
- name: probed
  url: https://pool
  routes: [{{name: probed, paths: [/probed]}}]
upstreams:
- name: pool
  targets: [{{target: "localhost:{port}"}}]
  healthchecks:
    active:
      type: https
      healthy: {{interval: 0.1, successes: 1}}
      unhealthy: {{interval: 0.1, tcp_failures: 1}}
"#
        );
        place.configure(&(configuration("one", place.service) + &more));
        (place.start(), place)
    };
    for trusted in ["own.pem", "other.pem,own.pem", "system,own.pem"] {
        let (gateway, place) = started(trusted);
        assert_eq!(get(gateway.proxy(), "/verified").0, 200, "{trusted}");
        let before = seen.lock().unwrap().len();
        eventually("probes come", || seen.lock().unwrap().len() > before + 3);
        assert_eq!(get(gateway.proxy(), "/probed").0, 200, "{trusted}");
        assert_eq!(place.path("run/trusted.pem").exists(), trusted != "own.pem");
    }
    for trusted in ["system", "other.pem"] {
        let (gateway, _place) = started(trusted);
        assert_eq!(get(gateway.proxy(), "/verified").0, 502, "{trusted}");
        eventually("the target is found unhealthy", || get(gateway.proxy(), "/probed").0 == 503);
    }
}

#[test]
fn a_trusted_certificate_that_cannot_be_used_is_named() {
    for (trusted, text, said) in [
        ("absent.pem", None, "absent.pem"),
        ("system,empty.pem", Some(""), "empty.pem: it holds no certificate"),
        ("broken.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "broken.pem: "),
        ("", None, "it names nothing"),
    ] {
        let place = Place::new(&[("LUA_SSL_TRUSTED_CERTIFICATE", trusted)]);
        if let Some(text) = text {
            std::fs::write(place.path(trusted.rsplit(',').next().unwrap()), text).unwrap();
        }
        let ended = place.command(&["run"], "stderr").output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && told.contains(said), "{trusted}: {told}");
        assert!(told.contains("lua_ssl_trusted_certificate"), "{told}");
    }
}
