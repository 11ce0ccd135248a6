//! Every ready configuration in `conf/` loads and compiles.

use std::path::Path;
use std::process::Command;

#[test]
fn ready_configurations_pass_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".yml") {
            continue;
        }
        let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("check")
            .arg(&file)
            .env("DECK_DEMO_SERVICE", "http://127.0.0.1:1")
            .env("DECK_DEMO_SECRET", "0123456789abcdef0123456789abcdef")
            .env("DECK_DEMO_ISSUER", "http://127.0.0.1:1")
            .env("DECK_ISSUER", "https://keycloak.example/realms/portcullis")
            .env("DECK_CLIENT_ID", "gateway")
            .env("DECK_CLIENT_SECRET", "gateway-secret")
            .env("DECK_DEMO_PUBLIC_KEY", PUBLIC_KEY.replace('\n', "\\n"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{name}: {said}");
        assert!(!said.contains("unusable-key"), "{name}: {said}");
        checked += 1;
    }
    assert!(checked >= 6);
}

/// A broken one is refused with file, line and remedy, and exit code 1.
#[test]
fn a_broken_configuration_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kong.yml");
    std::fs::write(&file, "_format_version: \"3.0\"\nservices:\n- name: a\n  url: http://127.0.0.1\n  retires: 3\n")
        .unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("check").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    for part in ["kong.yml:5:", "unknown field", "retries", "retires: 3"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let unknown = Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("chekc").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

/// 2048 bits, for the demo's RS256 credential.
const PUBLIC_KEY: &str = include_str!("../conformance/rsa2048.pub.pem");
