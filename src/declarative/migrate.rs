//! Route paths of formats 1.1 and 2.1, from before `~` marked a regex.

/// The path as format 3.0 writes it: plain characters make a prefix, normalised; anything else is a regex.
pub fn path(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%".contains(&byte);
    if path.bytes().all(plain) { prefix(path) } else { format!("~{}", regex(path)) }
}

/// RFC 3986 6.2.2: unreserved characters decoded, other escapes in upper case, dot segments and empty segments removed.
fn prefix(path: &str) -> String {
    let decoded = replace_triplets(path, |byte, triplet| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { vec![byte] } else { triplet.to_ascii_uppercase() }
    });
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut output = String::new();
    if decoded.starts_with('/') {
        output.push('/');
    }
    output.push_str(&segments.join("/"));
    if !segments.is_empty() && (decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..")) {
        output.push('/');
    }
    output
}

/// Escapes of unreserved characters are decoded, and escaped for the regex where they mean something in one.
fn regex(path: &str) -> String {
    replace_triplets(path, |byte, triplet| match byte {
        b'!' | b'#'..=b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']' => triplet.to_ascii_uppercase(),
        b'.' | b'^' | b'-' | b'{' | b'}' | b'\\' | b'|' => vec![b'\\', byte],
        byte => vec![byte],
    })
}

/// Replaces every `%XX`; a text that would not be UTF-8 any more is left as it was.
fn replace_triplets(text: &str, with: impl Fn(u8, &[u8]) -> Vec<u8>) -> String {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut output = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if let (b'%', [high, low, beyond @ ..]) = (byte, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            output.extend(with(high << 4 | low, rest.get(..3).unwrap_or_default()));
            rest = beyond;
        } else {
            output.push(byte);
            rest = after;
        }
    }
    String::from_utf8(output).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn old_paths() {
        for (old, new) in [
            ("/prefix", "/prefix"),
            ("/regex.+", "~/regex.+"),
            ("/regex.+(", "~/regex.+("),
            ("/a-b_c~d.e/", "/a-b_c~d.e/"),
            ("/a/./b/../c", "/a/c"),
            ("/a%2fb%41", "/a%2FbA"),
            ("/a//b", "/a/b"),
            ("/", "/"),
            ("/..", "/"),
            ("/%7euser", "/~user"),
            (r"/\d+%2E%2f%41", r"~/\d+\.%2FA"),
            ("/ä", "~/ä"),
            ("/%C3%A4$", "~/ä$"),
            ("/%C3$", "~/%C3$"),
            ("/%zz", "/%zz"),
            ("/a%", "/a%"),
            ("no/slash", "no/slash"),
        ] {
            assert_eq!(super::path(old), new, "{old}");
        }
    }
}
