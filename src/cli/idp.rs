//! `portcullis idp`: the development identity provider.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{INVALID, print_error, print_line};
use crate::idp::{Faults, Idp, Options, People};
use crate::jose::Algorithm;
use crate::runtime::settings::Value as _;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Endpoints: /.well-known/openid-configuration, /jwks, /token, /introspect, /revoke, /userinfo.
Control:   POST /rotate        a new key signs from now on
           GET, POST, DELETE /faults
                               what goes wrong, as JSON: {\"delay\": MILLISECONDS, \"status\": 500, \"wrong_kid\": true,
                               \"extra_keys\": 10000, \"only\": [\"jwks\"]}
           GET /counts         how often each endpoint was asked
Docs:      docs/idp.md")]
pub struct Args {
    /// Where it listens: a loopback address, no other.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8009")]
    listen: SocketAddr,
    /// Its identifier, if it is to be another than http://ADDRESS:PORT.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// What tokens are signed with.
    #[arg(long, default_value = "RS256", value_parser = super::token::algorithm)]
    alg: Algorithm,
    /// A user of the password grant; may be given several times. Without users and clients: john:doe.
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = pair)]
    users: Vec<(String, String)>,
    /// A client; without `:SECRET` a public one. May be given several times. Without users and clients: gateway:gateway-secret.
    #[arg(long = "client", value_name = "ID:SECRET", value_parser = pair)]
    clients: Vec<(String, String)>,
    /// Users and clients with claims, as YAML.
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// Audience of the tokens; may be given several times.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// How long tokens are good for.
    #[arg(long, default_value = "5m", value_parser = time)]
    lifetime: Duration,
    /// The `typ` in the header of tokens.
    #[arg(long, value_name = "TYP", default_value = "at+jwt")]
    typ: String,
    /// Access tokens are opaque, for introspection.
    #[arg(long)]
    opaque: bool,
    /// A new key signs every so often.
    #[arg(long, value_name = "TIME", value_parser = time)]
    rotate_every: Option<Duration>,
    /// How many keys that no longer sign stay published.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    keep: usize,
    /// Publish the next key before it signs.
    #[arg(long)]
    ahead: bool,
    /// `max-age` of the key set; without it the set has no Cache-Control.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_age: Option<Duration>,
    /// Fault: every answer takes so long.
    #[arg(long, value_name = "TIME", value_parser = time)]
    delay: Option<Duration>,
    /// Fault: every answer has this status and nothing else.
    #[arg(long, value_name = "STATUS")]
    status: Option<u16>,
    /// Fault: tokens name a key that is not published.
    #[arg(long)]
    wrong_kid: bool,
    /// Fault: so many keys that nobody uses stand in the key set.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    extra_keys: usize,
    /// The endpoints that --delay and --status are about; may be given several times. Without it: all.
    #[arg(long, value_name = "ENDPOINT")]
    only: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, secret) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() { Err("the name is empty".into()) } else { Ok((name.into(), secret.into())) }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = Duration::parse(text)?;
    if time.is_zero() { Err("longer than nothing".into()) } else { Ok(time) }
}

impl Args {
    fn options(&self) -> Result<Options, String> {
        let mut people = match &self.people {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
                People::from_yaml(&text).map_err(|fault| format!("{}: {fault}", file.display()))?
            }
            None => People::default(),
        };
        self.users.iter().for_each(|(name, password)| people.add_user(name, password));
        self.clients.iter().for_each(|(id, secret)| people.add_client(id, secret));
        if people.users.is_empty() && people.clients.is_empty() {
            people = People::sample();
        }
        let faults = Faults {
            delay: self.delay.map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            status: self.status,
            wrong_kid: self.wrong_kid,
            extra_keys: self.extra_keys,
            only: self.only.clone(),
        };
        faults.check()?;
        Ok(Options {
            listen: self.listen,
            issuer: self.issuer.clone(),
            algorithm: self.alg,
            people,
            lifetime: self.lifetime,
            audience: self.audience.clone(),
            typ: self.typ.clone(),
            opaque: self.opaque,
            rotate_every: self.rotate_every,
            keep: self.keep,
            ahead: self.ahead,
            max_age: self.max_age,
            faults,
        })
    }
}

pub fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("no runtime: {error}"));
            return ExitCode::from(INVALID);
        }
    };
    let served = args.options().and_then(|options| {
        runtime.block_on(async {
            let example = example(&options.people);
            let idp = Idp::start(options).map_err(|refused| refused.to_string())?;
            print_line(&format!("issuer {}", idp.issuer()));
            print_line("for development only: passwords and keys are in memory, and nobody is kept from trying");
            if let Some(form) = example {
                print_line(&format!("curl -s {form} http://{}/token", idp.address()));
            }
            tokio::select! {
                () = idp.ended() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            Ok(())
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            print_error(&message);
            ExitCode::from(INVALID)
        }
    }
}

/// The form of a request for a token.
fn example(people: &People) -> Option<String> {
    let client = people.clients.first()?;
    let secret = client.secret.as_deref().map(|secret| format!(" -d client_secret={secret}")).unwrap_or_default();
    let grant = match people.users.first() {
        Some(user) => format!("-d grant_type=password -d username={} -d password={}", user.name, user.password),
        None => "-d grant_type=client_credentials".into(),
    };
    Some(format!("{grant} -d client_id={}{secret}", client.id))
}
