//! Where a request carries its credentials, and how they are taken out of it.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};

use crate::auth::arguments::{Arguments, body_without_arguments, without_arguments};
use crate::auth::{Request, State, Wants, sources};

/// Places that a kind of credential may stand in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub header: bool,
    pub query: bool,
    pub body: bool,
    pub cookie: bool,
}

impl Places {
    pub fn new(names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        Self { header: has("header"), query: has("query"), body: has("body"), cookie: has("cookie") }
    }
}

/// Headers that hold a bare token.
const TOKEN_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("access-token"), HeaderName::from_static("x-access-token")];

/// Where a credential was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Header(HeaderName),
    Query(Vec<String>),
    Body(Vec<String>),
    Cookie,
}

impl Place {
    /// Where it is, for people.
    pub fn told(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            Self::Query(_) => "the query".to_owned(),
            Self::Body(_) => "the body".to_owned(),
            Self::Cookie => "a cookie".to_owned(),
        }
    }
}

/// A name with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub secret: String,
}

/// A request's arguments, read when first needed.
pub struct Sent<'a> {
    request: &'a Request<'a>,
    query: OnceLock<Arguments>,
    body: OnceLock<Arguments>,
}

const PASSWORD: [&str; 2] = ["username", "password"];
const CLIENT: [&str; 2] = ["client_id", "client_secret"];

/// More than one `Authorization` line: which of them counts, a proxy in front and we could disagree about.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl<'a> Sent<'a> {
    pub fn new(request: &'a Request<'a>) -> Self {
        Self { request, query: OnceLock::new(), body: OnceLock::new() }
    }

    fn query(&self) -> &Arguments {
        self.query.get_or_init(|| self.request.query.map(Arguments::from_form).unwrap_or_default())
    }

    fn body(&self) -> &Arguments {
        let read = |body| Arguments::from_body(self.request.headers, body);
        self.body.get_or_init(|| self.request.body.map(read).unwrap_or_default())
    }

    /// # Errors
    /// When it cannot be told which header counts.
    pub fn authorization(&self) -> Result<Option<&'a [u8]>, Ambiguous> {
        let mut lines = self.request.headers.get_all(AUTHORIZATION).iter();
        match (lines.next(), lines.next()) {
            (line, None) => Ok(line.map(|line| line.as_bytes().trim_ascii())),
            _ => Err(Ambiguous),
        }
    }

    /// # Errors
    /// As [`Self::authorization`].
    pub fn token(&self, places: Places, cookie: Option<&str>) -> Result<Option<(Cow<'a, [u8]>, Place)>, Ambiguous> {
        if places.header {
            if let Some(token) = self.authorization()?.and_then(|line| credentials(line, b"bearer")) {
                return Ok(Some((token.into(), Place::Header(AUTHORIZATION))));
            }
            for name in &TOKEN_HEADERS {
                let token = self.request.headers.get(name).map(|line| line.as_bytes().trim_ascii());
                if let Some(token) = token.filter(|token| !token.is_empty()) {
                    // Kong takes it with the scheme, too.
                    let token = credentials(token, b"bearer").unwrap_or(token);
                    return Ok(Some((token.into(), Place::Header(name.clone()))));
                }
            }
        }
        if places.cookie
            && let Some(token) = cookie.and_then(|name| sources::cookie(self.request.headers, name))
            && !token.is_empty()
        {
            return Ok(Some((token.into(), Place::Cookie)));
        }
        Ok(self.argument(places, "access_token").map(|(token, place)| (token.into_bytes().into(), place)))
    }

    /// A refresh token: a header, or an argument, of this name.
    pub fn refresh(&self, places: Places, name: &str) -> Option<(String, Place)> {
        if places.header
            && let Ok(header) = HeaderName::from_bytes(name.as_bytes())
            && let Some(line) = self.request.headers.get(&header)
            && !line.is_empty()
        {
            return Some((lossy(line.as_bytes().trim_ascii()).into_owned(), Place::Header(header)));
        }
        self.argument(places, name)
    }

    /// What picks one of several clients: a header or an argument of this name.
    pub fn choice(&self, name: &str) -> Option<String> {
        let header = name.replace('_', "-");
        let header = [format!("x-{header}"), header].into_iter().find_map(|name| self.request.headers.get(name));
        let argument = || self.query().text(name).or_else(|| self.body().text(name)).map(str::to_owned);
        header.map(|line| lossy(line.as_bytes().trim_ascii()).into_owned()).or_else(argument)
    }

    fn argument(&self, places: Places, name: &str) -> Option<(String, Place)> {
        for (wanted, arguments, place) in [
            (places.query, Self::query as fn(&Self) -> &Arguments, Place::Query as fn(Vec<String>) -> Place),
            (places.body, Self::body, Place::Body),
        ] {
            if wanted && let Some(value) = arguments(self).text(name).filter(|value| !value.is_empty()) {
                return Some((value.to_owned(), place(vec![name.to_owned()])));
            }
        }
        None
    }

    /// # Errors
    /// As [`Self::authorization`].
    pub fn password(&self, places: Places) -> Result<Option<(Pair, Place)>, Ambiguous> {
        self.pair(places, PASSWORD)
    }

    /// # Errors
    /// As [`Self::authorization`].
    pub fn client(&self, places: Places) -> Result<Option<(Pair, Place)>, Ambiguous> {
        self.pair(places, CLIENT)
    }

    fn pair(&self, places: Places, names: [&str; 2]) -> Result<Option<(Pair, Place)>, Ambiguous> {
        if places.header
            && let Some(pair) = self.authorization()?.and_then(basic)
        {
            return Ok(Some((pair, Place::Header(AUTHORIZATION))));
        }
        let [name, secret] = names;
        for (wanted, arguments, place) in [
            (places.query, Self::query as fn(&Self) -> &Arguments, Place::Query as fn(Vec<String>) -> Place),
            (places.body, Self::body, Place::Body),
        ] {
            let arguments = if wanted { arguments(self) } else { continue };
            if let (Some(name), Some(secret)) = (arguments.text(name), arguments.text(secret)) {
                let pair = Pair { name: name.into(), secret: secret.into() };
                return Ok(Some((pair, place(names.map(str::to_owned).into()))));
            }
        }
        Ok(None)
    }
}

/// A credential as text.
pub fn lossy(token: &[u8]) -> Cow<'_, str> {
    // A good token is text, and reading it whole is a tenth of reading it for faults.
    std::str::from_utf8(token).map_or_else(|_| String::from_utf8_lossy(token), Cow::Borrowed)
}

/// What follows a scheme, whose case does not count.
fn credentials<'a>(line: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (there, rest) = line.split_at_checked(scheme.len())?;
    let value = rest.strip_prefix(b" ")?.trim_ascii();
    (there.eq_ignore_ascii_case(scheme) && !value.is_empty()).then_some(value)
}

fn basic(line: &[u8]) -> Option<Pair> {
    let text = String::from_utf8(STANDARD.decode(credentials(line, b"basic")?).ok()?).ok()?;
    let (name, secret) = text.split_once(':')?;
    (!name.is_empty()).then(|| Pair { name: name.into(), secret: secret.into() })
}

/// Whether the body could hold a credential that the plugin looks for (`body`), or says which client is meant (`choice`).
pub fn wants(request: &Request<'_>, body: bool, choice: bool) -> Wants {
    let may_carry = matches!(*request.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let elsewhere = || request.headers.contains_key(AUTHORIZATION);
    if may_carry && (choice || body && !elsewhere()) { Wants::SmallBody } else { Wants::Nothing }
}

/// Takes the credential out of what the service gets.
pub fn hide(request: &Request<'_>, state: &mut State, place: &Place, cookie: Option<&str>) {
    match place {
        Place::Header(name) => state.headers.remove.push(name.clone()),
        Place::Query(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            state.query = request.query.map(|query| without_arguments(query, &names));
        }
        Place::Body(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            state.body = request.body.and_then(|body| body_without_arguments(request.headers, body, &names));
        }
        Place::Cookie => {
            state.headers.remove.push(COOKIE);
            let kept: Vec<&[u8]> = request
                .headers
                .get_all(COOKIE)
                .iter()
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
                .map(<[u8]>::trim_ascii)
                .filter(|pair| {
                    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
                    !pair.is_empty() && !cookie.is_some_and(|cookie| name.eq_ignore_ascii_case(cookie.as_bytes()))
                })
                .collect();
            if let Some(value) = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty())
            {
                state.headers.set.push((COOKIE, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{directory, get};

    #[test]
    fn schemes_are_anchored_and_case_does_not_count() {
        for (line, found) in [
            ("Bearer t", Some("t")),
            ("bEARER   t ", Some("t")),
            ("xBearer t", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic t", None),
            ("Bearer\tt", None),
        ] {
            assert_eq!(credentials(line.trim().as_bytes(), b"bearer").map(lossy).as_deref(), found, "{line}");
        }
        let pair = basic(b"Basic am9objpkOm9l").unwrap();
        assert_eq!((pair.name.as_str(), pair.secret.as_str()), ("john", "d:oe"));
        assert!(basic(b"Basic !!!").is_none() && basic(b"Basic am9obg==").is_none());
    }

    #[test]
    fn a_cookie_is_taken_out_of_its_line() {
        let directory = directory([], []);
        let sent = get().header("cookie", "a=1; tok=secret; b=2").header("cookie", "Tok=x");
        let mut state = State::default();
        hide(&sent.request(&directory), &mut state, &Place::Cookie, Some("tok"));
        assert_eq!(state.headers.set, [(COOKIE, "a=1; b=2".parse().unwrap())]);
        assert_eq!(state.headers.remove, [COOKIE]);
    }
}
