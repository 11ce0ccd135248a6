//! `portcullis explain`: why a request would be refused, asked of a running gateway or of declarative files.

mod ladder;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::check::{print_diagnostics, resources};
use super::{INVALID, SettingsArgs, print_error, print_json, print_line};
use crate::declarative;
use crate::explain::{Lent, Question, explain};
use crate::runtime::settings::Settings;
use crate::snapshot::{Origin, Snapshot};
use crate::telemetry::AccessLog;

/// Asks why a request would be refused, and tells every check.
///
/// The gateway's own code decides, over a request that is described and not sent; nothing is logged. Asked is the gateway whose
/// Admin API the settings name, or another one (--admin), or declarative files without any gateway (--config).
///
/// Exit code 0: it would pass. 1: it would not. 2: it could not be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    portcullis explain - --route orders < token.txt\n  \
    portcullis explain \"$TOKEN\" --request 'GET /orders/42'\n  \
    portcullis explain --request 'GET /orders' -H \"Authorization: Bearer $TOKEN\" --config kong.yml")]
pub struct Args {
    /// The token; `-` reads it from standard input, so that it stays out of the shell's history and the list of processes.
    /// Without one, only what the headers and the query carry is looked at.
    token: Option<String>,
    /// A route, by name or id; the router is not asked.
    #[arg(long, value_name = "ROUTE", required_unless_present = "request")]
    route: Option<String>,
    /// A request: `GET /path`, `/path`, or a whole URL; the router finds the route.
    #[arg(long, value_name = "REQUEST", conflicts_with = "route")]
    request: Option<String>,
    /// A header of the request; several times for several.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Where the token is put: header:NAME, query:NAME, cookie:NAME, body:NAME. Without it, where the route reads one.
    #[arg(long = "in", value_name = "PLACE")]
    place: Option<String>,
    /// Judge as of this time, in seconds since 1970, instead of now.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    /// Ask declarative files, not a gateway; several times for several.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Vec<PathBuf>,
    /// The Admin API of the gateway to ask, e.g. http://127.0.0.1:8001. Its token is taken from the settings.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the answer as POST /explain of the Admin API gives it.
    #[arg(long)]
    json: bool,
}

/// It could not be asked.
const UNASKED: u8 = 2;

/// How long the gateway may take; it may have to fetch an identity provider's keys.
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

pub fn run(args: &Args) -> ExitCode {
    match ask(args) {
        Ok(Some(answer)) => {
            if args.json {
                print_json(&answer);
            } else {
                print_line(&ladder::draw(&answer));
            }
            match answer["outcome"].as_str() {
                Some("allowed" | "anonymous") => ExitCode::SUCCESS,
                _ => ExitCode::from(INVALID),
            }
        }
        Ok(None) => ExitCode::from(UNASKED),
        Err(error) => {
            print_error(&format!("error: {error}"));
            ExitCode::from(UNASKED)
        }
    }
}

/// The answer; `None` when why there is none was said already.
fn ask(args: &Args) -> Result<Option<Value>, Failure> {
    let question = question(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if args.config.is_empty() {
        runtime.block_on(ask_gateway(args, &question)).map(Some)
    } else {
        runtime.block_on(ask_files(args, &question))
    }
}

/// What is asked, as `POST /explain` takes it.
fn question(args: &Args) -> Result<Map<String, Value>, Failure> {
    let mut question = Map::new();
    let mut put = |name: &str, value: Option<Value>| question.extend(value.map(|value| (name.to_owned(), value)));
    let token = match args.token.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        token => token.map(str::to_owned),
    };
    put("token", token.map(Into::into));
    put("route", args.route.clone().map(Into::into));
    put("in", args.place.clone().map(Into::into));
    put("at", args.at.map(Into::into));
    if let Some(request) = args.request.as_deref().map(str::trim) {
        let (method, url) = match request.split_once(char::is_whitespace) {
            Some((method, url)) => (Some(method), url.trim()),
            None => (None, request),
        };
        put("method", method.map(Into::into));
        put("url", Some(url.into()));
    }
    let mut headers: Map<String, Value> = Map::new();
    for line in &args.headers {
        // Not the line itself: it may hold a token.
        let (name, value) = line.split_once(':').ok_or("a header is written 'Name: value'")?;
        let lines = headers.entry(name.trim().to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(lines) = lines {
            lines.push(value.trim().into());
        }
    }
    put("headers", Some(Value::Object(headers)));
    Ok(question)
}

async fn ask_files(args: &Args, question: &Map<String, Value>) -> Result<Option<Value>, Failure> {
    let options = declarative::Options { keep_places: true, ..declarative::Options::default() };
    let dataset = match declarative::load_files(&args.config, &options) {
        Ok(loaded) => loaded.dataset,
        Err(refused) => {
            print_diagnostics(&refused.diagnostics);
            return Ok(None);
        }
    };
    let names: Vec<String> = args.config.iter().map(|path| path.display().to_string()).collect();
    let origin = Origin { source: names.join(", "), hash: Origin::EMPTY_HASH.into() };
    let snapshot = match Snapshot::compile(dataset, origin, &resources()) {
        Ok((snapshot, _)) => snapshot,
        Err(faults) => {
            print_diagnostics(&faults);
            return Ok(None);
        }
    };
    let log = AccessLog::off();
    let fingerprint = |token: &str| log.fingerprint(token.as_bytes()).as_str().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let lent = Lent { snapshot: Arc::new(snapshot), now, fingerprint: &fingerprint };
    let explained = explain(&Question::from_json(question)?, &lent).await?;
    Ok(Some(serde_json::to_value(explained)?))
}

async fn ask_gateway(args: &Args, question: &Map<String, Value>) -> Result<Value, Failure> {
    let settings = args.settings.load().map_err(|_| "the settings cannot be read")?;
    let admin = match &args.admin {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => admin_address(&settings)?,
    };
    // The connection goes straight to the gateway; an operator's own certificate authority is the system's business.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let mut request = client.post(format!("{admin}/explain")).json(question);
    if let Some(token) = &settings.admin_token {
        request = request.header("kong-admin-token", token.0.as_str());
    }
    let answer = request.send().await.map_err(|error| format!("{admin}: {}", root_cause(&error)))?;
    let status = answer.status();
    let body: Value =
        answer.json().await.map_err(|_| format!("{admin} answers {status}, and not as a gateway does"))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(format!("{admin}: {}", body["message"].as_str().unwrap_or(status.as_str())).into())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The first Admin API listener that can be reached by a URL.
fn admin_address(settings: &Settings) -> Result<String, Failure> {
    let url = settings.admin_listen.iter().find_map(|listen| match &listen.address {
        crate::runtime::listen::Address::Tcp(address) => {
            let host = match address.ip() {
                ip if !ip.is_unspecified() => address.to_string(),
                std::net::IpAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
                std::net::IpAddr::V6(_) => format!("[::1]:{}", address.port()),
            };
            Some(format!("{}://{host}", if listen.ssl { "https" } else { "http" }))
        }
        crate::runtime::listen::Address::Unix(_) => None,
    });
    url.ok_or_else(|| "admin_listen names no port: say --admin URL, or --config FILE".into())
}
