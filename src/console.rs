//! The console: a browser UI for what the Admin API does and shows.
//!
//! Owns the files of the page (embedded when the program is built, compressed once) and the rules a browser is given with them.
//! The page reaches the Admin API under `/api/` on its own origin: the same handlers, the same token, no other origin ever let in.
//! Must not know what the Admin API answers.

mod files;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST,
    HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Uri};
use tower::ServiceExt;

use self::files::File;
use crate::admin;

/// What a browser may do with the page: load its own two files, ask its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// Where the Admin API begins.
const API: &str = "/api";

/// The console as a service in front of the Admin API's.
pub fn router(options: admin::Options, api: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let (options, api) = (options.clone(), api.clone());
        async move { answer(&options, api, request).await }
    })
}

async fn answer(options: &admin::Options, api: Router, request: Request) -> Response<Body> {
    let mut response = match below_api(request.uri()) {
        Some(uri) => ask(api, request, uri).await,
        None => file(options, &request),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The address within the Admin API, if it is one.
fn below_api(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(API)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let whole = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // A part of a valid address is one; whatever else comes of it leads nowhere in the Admin API.
    Some(PathAndQuery::try_from(whole).map_or_else(|_| Uri::from_static("/"), Uri::from))
}

/// Hands a request to the Admin API, if it comes from the console's own page or from no page at all.
async fn ask(api: Router, mut request: Request, uri: Uri) -> Response<Body> {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return text(StatusCode::FORBIDDEN, "requests from other pages are not allowed\n");
    }
    *request.uri_mut() = uri;
    let mut response = match api.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let headers = response.headers_mut();
    // The Admin API's own listener may be asked by pages that are listed; this one is for its own page alone.
    let cross_origin: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in cross_origin {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers with a file of the page.
fn file(options: &admin::Options, request: &Request) -> Response<Body> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    if !admin::is_our_host(options, host) {
        return text(StatusCode::FORBIDDEN, "this host name is not known to the console; add it to admin_hosts\n");
    }
    let Some(file) = files::find(request.uri().path()) else { return text(StatusCode::NOT_FOUND, "not found\n") };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let unchanged =
        known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.tag));
    let mut response = Response::new(Body::empty());
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if *request.method() == Method::GET {
        *response.body_mut() = body(file, request.headers());
    }
    let headers = response.headers_mut();
    if !unchanged {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
        if takes_gzip(request.headers()) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    // Asked for anew each time: after an upgrade the page is the new program's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn body(file: &'static File, headers: &HeaderMap) -> Body {
    if takes_gzip(headers) { Body::from(file.gzip.clone()) } else { Body::from(file.plain) }
}

/// Whether `Accept-Encoding` names gzip, and not with a weight of nothing.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
