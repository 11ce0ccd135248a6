//! The paths of services and routes: which are accepted, and in which form.

use serde_json::Value;

/// The path of a service or a health check; that it starts with `/` and has no empty segment was checked before.
///
/// # Errors
/// The fault in Kong's words.
pub fn check(value: &Value) -> Result<(), String> {
    let path = value.as_str().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%:@!$&'()*+,;=".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err(format!("invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)"));
    }
    check_percent(path)
}

/// The path of a route: `/prefix` in its normal form, or `~/regex`.
///
/// # Errors
/// The fault in Kong's words.
pub fn check_route(value: &Value) -> Result<(), String> {
    let path = value.as_str().unwrap_or_default();
    if let Some(pattern) = path.strip_prefix('~') {
        return check_regex(pattern);
    }
    check_percent(path)?;
    let normal = normalise(path);
    if path == normal { Ok(()) } else { Err(format!("non-normalized path, consider use '{normal}' instead")) }
}

fn check_percent(path: &str) -> Result<(), String> {
    let bytes = path.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    for (at, _) in path.match_indices('%') {
        if !(is_hex(at + 1) && is_hex(at + 2)) {
            let bad: String = path.get(at..).unwrap_or_default().chars().take(3).collect();
            return Err(format!("invalid url-encoded value: '{bad}'"));
        }
    }
    Ok(())
}

/// Characters whose percent-encoding is kept (RFC 3986 reserved, and the percent sign).
const RESERVED: &[u8] = b"!#$%&'()*+,/:;=?@[]";

/// The form in which paths are compared: what need not be percent-encoded is decoded, hexadecimal digits are upper case, dot
/// segments and repeated slashes are gone. What does not decode to UTF-8 is shown with replacement characters.
pub fn normalise(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(upper), Some(lower)) = (hex(high), hex(low))
        {
            let byte = upper << 4 | lower;
            if RESERVED.contains(&byte) {
                decoded.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
            } else {
                decoded.push(byte);
            }
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    let decoded = String::from_utf8_lossy(&decoded);
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in decoded.split('/') {
        match segment {
            "" | "." => open = true,
            ".." => {
                segments.pop();
                open = true;
            }
            segment => {
                segments.push(segment);
                open = false;
            }
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if open || out.is_empty() {
        out.push('/');
    }
    out
}

/// Kong compiles a path pattern with PCRE first; where this regex engine finds the same fault it is told in PCRE's words.
fn check_regex(pattern: &str) -> Result<(), String> {
    let Err(error) = regex::Regex::new(pattern) else { return Ok(()) };
    let text = error.to_string();
    let reason = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: ")).unwrap_or(&text);
    let words = match reason {
        "unclosed character class" => "missing terminating ] for character class",
        "unclosed group" => "missing closing parenthesis",
        "unopened group" => "unmatched closing parenthesis",
        "repetition operator missing expression" => "quantifier does not follow a repeatable item",
        "incomplete escape sequence, reached end of pattern prematurely" => "\\ at end of pattern",
        other => other,
    };
    Err(format!("invalid regex: '{pattern}' (PCRE returned: pcre2_compile() failed: {words} in \"{pattern}\")"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn normal_forms() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a//b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/%61%2f%2e", "/a%2F."),
            ("/caf%C3%A9", "/café"),
            ("/a b", "/a b"),
        ] {
            assert_eq!(normalise(path), normal, "{path}");
        }
    }

    #[test]
    fn route_paths() {
        let fault = |path: &str| check_route(&json!(path)).expect_err(path);
        for path in ["/", "/a-b_c.d~e", "/café and spaces", "/a%2Fb", "~/x/(?<id>\\d+)$", "~/a/%zz"] {
            assert_eq!(check_route(&json!(path)), Ok(()), "{path}");
        }
        assert_eq!(fault("/some%2words"), "invalid url-encoded value: '%2w'");
        assert_eq!(fault("/hello/../world"), "non-normalized path, consider use '/world' instead");
        assert_eq!(fault("/%61"), "non-normalized path, consider use '/a' instead");
        assert_eq!(
            fault("~/x/(["),
            "invalid regex: '/x/([' (PCRE returned: pcre2_compile() failed: missing terminating ] for character class in \"/x/([\")"
        );
        assert!(fault("~/a(?=b)").starts_with("invalid regex: '/a(?=b)' (PCRE returned: "));
    }

    #[test]
    fn service_paths() {
        assert_eq!(check(&json!("/a/b:@!$&'()*+,;=%20")), Ok(()));
        assert_eq!(
            check(&json!("/a?b")),
            Err("invalid path: '/a?b' (characters outside of the reserved list of RFC 3986 found)".to_owned())
        );
        assert_eq!(check(&json!("/a%2")), Err("invalid url-encoded value: '%2'".to_owned()));
    }
}
