//! URLs as Kong takes them apart: leniently, so that what is missing can be named.

use serde_json::Value;

/// The parts of a URL; none is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    pub scheme: Option<&'a str>,
    pub host: Option<&'a str>,
    pub port: Option<&'a str>,
    pub path: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

/// Takes a URL apart.
pub fn split(url: &str) -> Parts<'_> {
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, fragment)| (rest, Some(fragment)));
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
        _ => (None, rest),
    };
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(after) => after.split_at(after.find(['/', '?']).unwrap_or(after.len())),
        None => ("", rest),
    };
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    let host = authority.split_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, some(port)),
        _ => (host, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Parts { scheme, host: some(host), port, path: some(path), fragment }
}

/// A URL with a scheme and a host.
///
/// # Errors
/// The fault in Kong's words.
pub fn check(value: &Value) -> Result<(), String> {
    let url = split(value.as_str().unwrap_or_default());
    match (url.host, url.scheme) {
        (None, _) => Err("missing host in url".to_owned()),
        (_, None) => Err("missing scheme in url".to_owned()),
        _ => Ok(()),
    }
}

/// Where an authorization server may send a browser: absolute, and without a fragment (RFC 6749 section 3.1.2).
///
/// # Errors
/// The fault in Kong's words.
pub fn check_redirect(value: &Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let url = split(text);
    if url.host.is_none() || url.scheme.is_none() {
        Err(format!("cannot parse '{text}'"))
    } else if url.fragment.is_some() {
        Err(format!("fragment not allowed in '{text}'"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(
            split("https://user@h.example:444/z/y?q=/#f"),
            Parts {
                scheme: Some("https"),
                host: Some("h.example"),
                port: Some("444"),
                path: Some("/z/y"),
                fragment: Some("f")
            }
        );
        assert_eq!(
            split("http://[::1]:80"),
            Parts { scheme: Some("http"), host: Some("::1"), port: Some("80"), ..Parts::default() }
        );
        assert_eq!(split("http://h?x=1"), Parts { scheme: Some("http"), host: Some("h"), ..Parts::default() });
        assert_eq!(split("foo"), Parts { path: Some("foo"), ..Parts::default() });
    }

    #[test]
    fn checks() {
        assert_eq!(check(&json!("foo")), Err("missing host in url".to_owned()));
        assert_eq!(check(&json!("//foo")), Err("missing scheme in url".to_owned()));
        assert_eq!(check(&json!("https://idp/realms/x")), Ok(()));
        assert_eq!(check_redirect(&json!("not-valid")), Err("cannot parse 'not-valid'".to_owned()));
        assert_eq!(
            check_redirect(&json!("http://test.test/#with-fragment")),
            Err("fragment not allowed in 'http://test.test/#with-fragment'".to_owned())
        );
        assert_eq!(check_redirect(&json!("http://test.test/cb")), Ok(()));
    }
}
