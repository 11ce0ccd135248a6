//! `portcullis token`: mint, inspect and verify tokens, without a gateway.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{INVALID, print_error, print_json, print_line};
use crate::jose::{Algorithm, Compact, Jws, SigningKey, VerificationKey};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sign a token.
    Mint(Mint),
    /// Show what a token says, without verifying it.
    Inspect(Inspect),
    /// Verify a token's signature and times. Exit code 1 if it is not good.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub struct Mint {
    /// HS256, RS256, ES256, EdDSA …
    #[arg(long, value_parser = algorithm)]
    alg: Option<Algorithm>,
    #[command(flatten)]
    key: KeyArgs,
    /// A claim; the value is taken as JSON where it is JSON, else as a string.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// A header member, likewise.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Seconds from now until `exp`; without it the token has none.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    exp: Option<i64>,
    /// Seconds from now until `nbf`.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    nbf: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The token; `-` or nothing reads it from standard input, so that it stays out of the shell's history.
    token: Option<String>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The token; `-` or nothing reads it from standard input.
    token: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// The algorithm to insist on; without it, the token's own if it fits the key.
    #[arg(long, value_parser = algorithm)]
    alg: Option<Algorithm>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// The secret of HS256, HS384, HS512.
    #[arg(long)]
    secret: Option<String>,
    /// A file with the secret, as it is.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A PEM file: the private key to mint, the public key to verify.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        format!("expected one of: {}", names.join(", "))
    })
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

pub fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Mint(args) => mint(&args).map(|token| {
            print_line(&token);
            true
        }),
        Command::Inspect(args) => inspect(&args).map(|()| true),
        Command::Verify(args) => verify(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INVALID),
        Err(error) => {
            print_error(&format!("error: {error}"));
            ExitCode::from(INVALID)
        }
    }
}

impl KeyArgs {
    /// Secret or PEM text, and whether it is a secret.
    fn material(&self) -> Result<(Vec<u8>, bool)> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        match (&self.secret, &self.secret_file, &self.key) {
            (Some(secret), _, _) => Ok((secret.clone().into_bytes(), true)),
            (_, Some(path), _) => Ok((read(path)?, true)),
            (_, _, Some(path)) => Ok((read(path)?, false)),
            _ => Err("give --secret, --secret-file or --key".into()),
        }
    }
}

fn mint(args: &Mint) -> Result<String> {
    let (material, is_secret) = args.key.material()?;
    let key = if is_secret {
        SigningKey::from_secret(args.alg.unwrap_or(Algorithm::Hs256), &material)?
    } else {
        SigningKey::from_pem(args.alg.unwrap_or(Algorithm::Rs256), std::str::from_utf8(&material)?)?
    };
    let now = now();
    let mut claims = members(&args.claims)?;
    claims.entry("iat").or_insert_with(|| now.into());
    for (name, offset) in [("exp", args.exp), ("nbf", args.nbf)] {
        if let Some(offset) = offset {
            claims.insert(name.into(), (i64::try_from(now)? + offset).into());
        }
    }
    Ok(key.sign(&members(&args.headers)?, &claims)?)
}

/// `NAME=VALUE` pairs; a value that is JSON is taken as JSON.
fn members(pairs: &[String]) -> Result<Map<String, Value>> {
    pairs
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, got '{pair}'"))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((name.to_owned(), value))
        })
        .collect()
}

fn inspect(args: &Inspect) -> Result<()> {
    let token = token(args.token.as_deref())?;
    let mut scratch = Vec::new();
    // Not strictly parsed: what is shown is what is there, however wrong.
    let parsed = Compact::decode(token.as_bytes(), &mut scratch)?;
    let json = |part: &[u8], name: &str| {
        serde_json::from_slice::<Value>(part).map_err(|error| format!("the {name} is not JSON: {error}"))
    };
    let (header, claims) = (json(parsed.header, "header")?, json(parsed.payload, "payload")?);
    if args.json {
        print_json(&json!({ "header": header, "claims": claims }));
        return Ok(());
    }
    print_line(&format!("header  {header}"));
    print_line(&format!("claims  {claims:#}"));
    for name in ["nbf", "iat", "exp"] {
        if let Some(at) = claims.get(name).and_then(Value::as_f64) {
            print_line(&format!("{name}     {}", relative(at)));
        }
    }
    print_line("not verified: use `portcullis token verify`");
    Ok(())
}

fn verify(args: &Verify) -> Result<bool> {
    let token = token(args.token.as_deref())?;
    let (material, is_secret) = args.key.material()?;
    let mut scratch = Vec::new();
    let parsed = Jws::parse(token.as_bytes(), &mut scratch)?;
    let claimed = parsed.algorithm;
    let algorithm = args.alg.unwrap_or(claimed);
    let mut faults: Vec<String> = Vec::new();
    if algorithm != claimed {
        faults.push(format!("alg is {}, not {}", claimed.name(), algorithm.name()));
    } else {
        let key = if is_secret {
            VerificationKey::from_secret(algorithm, &material)?
        } else {
            VerificationKey::from_pem(algorithm, std::str::from_utf8(&material)?)?
        };
        if !parsed.verify(&key) {
            faults.push("the signature does not verify with this key".into());
        }
    }
    let claims = serde_json::to_value(&parsed.claims)?;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let now = now() as f64;
    if let Some(exp) = time("exp").filter(|exp| *exp <= now) {
        faults.push(format!("expired {}", relative(exp)));
    }
    if let Some(nbf) = time("nbf").filter(|nbf| *nbf > now) {
        faults.push(format!("not valid before {}", relative(nbf)));
    }
    if args.json {
        print_json(&json!({ "valid": faults.is_empty(), "faults": faults, "claims": claims }));
    } else if faults.is_empty() {
        print_line("valid");
    } else {
        faults.iter().for_each(|fault| print_error(&format!("invalid: {fault}")));
    }
    Ok(faults.is_empty())
}

fn token(given: Option<&str>) -> Result<String> {
    match given {
        Some(token) if token != "-" => Ok(token.trim().to_owned()),
        _ => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Ok(text.trim().to_owned())
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `at` as seconds from now, in words.
fn relative(at: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let distance = at - now() as f64;
    match distance {
        d if d < 0.0 => format!("{} s ago", -d),
        d => format!("in {d} s"),
    }
}
