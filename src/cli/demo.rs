//! `portcullis demo`: the gateway with a sample configuration, a service to call, and lines to paste.

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::response::Json;
use serde_json::{Map, Value, json};

use super::{INVALID, print_error, print_line};
use crate::idp::{self, Idp};
use crate::jose::{Algorithm, SigningKey};
use crate::runtime::settings::Settings;
use crate::runtime::{self, Start};

const CONFIGURATION: &str = include_str!("../../conf/demo.yml");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the sample configuration and exit.
    #[arg(long)]
    print_config: bool,
}

pub fn run(args: &Args) -> ExitCode {
    if args.print_config {
        print_line(CONFIGURATION.trim_end());
        return ExitCode::SUCCESS;
    }
    match prepare() {
        Ok((settings, guide)) => runtime::run(settings, Start { on_ready: Some(guide), ..Start::default() }),
        Err(error) => {
            print_error(&format!("the demo cannot start: {error}"));
            ExitCode::from(INVALID)
        }
    }
}

type Guide = Box<dyn FnOnce() + Send>;

fn prepare() -> Result<(Settings, Guide), Box<dyn std::error::Error>> {
    let service = start_echo()?;
    let (issuer, oidc) = start_idp()?;
    let secret = crate::schema::token();
    let hmac = SigningKey::from_secret(Algorithm::Hs256, secret.as_bytes())?;
    let rsa = SigningKey::generate(Algorithm::Rs256)?;
    let values = [
        ("DECK_DEMO_SERVICE", format!("http://127.0.0.1:{service}")),
        ("DECK_DEMO_ISSUER", issuer),
        ("DECK_DEMO_SECRET", secret),
        // Inside double quotes YAML reads \n as a line break.
        ("DECK_DEMO_PUBLIC_KEY", rsa.public_pem().unwrap_or_default().replace('\n', "\\n")),
    ];
    let text = values.iter().fold(CONFIGURATION.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{{ env \"{name}\" }}}}"), value)
    });
    let prefix = std::env::temp_dir().join(format!("portcullis-demo-{}", std::process::id()));
    let ours = [
        ("PORTCULLIS_DATABASE", "off"),
        ("PORTCULLIS_DECLARATIVE_CONFIG_STRING", &text),
        ("PORTCULLIS_PREFIX", &prefix.to_string_lossy()),
        ("PORTCULLIS_LOG_LEVEL", "warn"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let theirs = std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_"));
    let settings = Settings::read(None, ours.into_iter().chain(theirs)).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        faults.join("\n")
    })?;
    let guide = guide(&hmac, &rsa, &oidc)?;
    Ok((settings, guide))
}

/// What to type, with fresh tokens, and what each line answers.
fn guide(hmac: &SigningKey, rsa: &SigningKey, oidc: &[String; 2]) -> Result<Guide, Box<dyn std::error::Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let token = |key: &SigningKey, issuer: &str, exp: u64| {
        let claims = [("iss", json!(issuer)), ("iat", json!(now)), ("exp", json!(exp))];
        key.sign(&Map::new(), &claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let good_hs = token(hmac, "alice-hs256", now + 3600)?;
    let old_hs = token(hmac, "alice-hs256", now - 60)?;
    let good_rs = token(rsa, "bob-rs256", now + 3600)?;
    let old_rs = token(rsa, "bob-rs256", now - 60)?;
    let call = |about: &str, path: &str, token: Option<&str>| {
        let header = token.map(|token| format!(" -H 'Authorization: Bearer {token}'")).unwrap_or_default();
        format!("# {about}\ncurl -i{header} http://localhost:8000{path}\n")
    };
    let lines = [
        call("200: HS256, alice; the service sees X-Consumer-Username: alice", "/api", Some(&good_hs)),
        call("401 {\"exp\":\"token expired\"}: HS256, expired a minute ago", "/api", Some(&old_hs)),
        call("200: RS256, bob", "/api", Some(&good_rs)),
        call("401 {\"exp\":\"token expired\"}: RS256, expired a minute ago", "/api", Some(&old_rs)),
        call("401 {\"message\":\"Unauthorized\"}: no token", "/api", None),
        call("200: openid-connect, john's token of a development provider", "/oidc", oidc.first().map(String::as_str)),
        call("403: his token without the scope that the route asks for", "/oidc", oidc.last().map(String::as_str)),
        "# 200: a password, exchanged at the provider; the service sees a Bearer token in its place\n\
         curl -i -u john:doe http://localhost:8000/oidc\n"
            .into(),
        call("200: a route without a plugin", "/open", None),
        format!(
            "# 200 over TLS and HTTP/2 (-k: the certificate was made at start)\ncurl -ik -H 'Authorization: Bearer {good_hs}' https://localhost:8443/api\n"
        ),
        "# what was counted\ncurl -s http://localhost:8007/metrics | grep ^portcullis_auth\n".into(),
    ];
    let text = format!(
        "\nPortcullis is serving the sample configuration (portcullis demo --print-config shows it).\n\
         Tokens below are good for an hour. Ctrl-C ends it.\n\n{}",
        lines.join("\n")
    );
    Ok(Box::new(move || print_line(&text)))
}

/// Starts a development provider; returns its issuer and two of its tokens: with the scope that the route asks for, and without.
fn start_idp() -> Result<(String, [String; 2]), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = idp::Options {
        people: idp::People::sample(),
        audience: vec!["demo".into()],
        lifetime: std::time::Duration::from_secs(3600),
        ..idp::Options::default()
    };
    let idp = {
        let _guard = runtime.enter();
        Idp::start(options)?
    };
    let token = |scope: &str| {
        let claims = [("scope", json!(scope)), ("preferred_username", json!("john"))];
        idp.token("john", &claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    };
    let tokens = [token("openid orders")?, token("openid")?];
    let issuer = idp.issuer().to_owned();
    std::thread::Builder::new().name("idp".into()).spawn(move || runtime.block_on(idp.ended()))?;
    Ok((issuer, tokens))
}

/// Starts the service behind the gateway; returns its port.
fn start_echo() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("echo".into()).spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, Router::new().fallback(echo)).await
        })
    })?;
    Ok(port)
}

/// Answers with what it was asked.
async fn echo(request: Request) -> Json<Value> {
    let headers: Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    Json(json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "headers": headers,
    }))
}
