//! The line of a file that is shown beside a fault, with every secret on it masked.
//!
//! Works on the text alone, so that it can be used for files that do not parse: a value is masked when its key, on the same
//! line or on the lines that enclose it, names a secret.

/// What stands in place of a secret.
const MASK: &str = "•••";
/// Longest excerpt, in characters; longer lines are shown around the column.
const WIDTH: usize = 160;
/// Longest line that is looked at as a whole, in bytes.
const LONG: usize = 4096;
/// How many lines are looked back at for the key that encloses a line.
const LOOK_BACK: usize = 2_000;

/// Whether the value of a field of this name must not be shown.
pub fn is_secret(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| field.ends_with(ending));
    let public = ends(&["public_key", "cache_key", "primary_key", "endpoint_key"]);
    !public
        && ends(&[
            "secret",
            "password",
            "passphrase",
            "key",
            "key_alt",
            "token",
            "jwk",
            "jwks",
            "pem",
            "_values",
            "authorization",
        ])
}

/// The line that starts at `start`, ready to be shown; `secret` masks all values on it. Of a line without end, such as JSON on
/// one line, what follows `at`, which is the beginning of a key or a value.
pub fn line(text: &str, start: usize, at: usize, secret: bool) -> Option<String> {
    let rest = text.get(start..)?;
    let head = rest.as_bytes().get(..LONG).unwrap_or(rest.as_bytes());
    let end = memchr::memchr(b'\n', head).or_else(|| (head.len() == rest.len()).then_some(rest.len()));
    let Some(line) = end.and_then(|end| rest.get(..end)) else {
        let part = text.get(at..)?;
        let part = part.get(
            ..memchr::memchr(b'\n', part.as_bytes().get(..LONG).unwrap_or(part.as_bytes())).unwrap_or(part.len()),
        )?;
        // A masked value reaches to the end of the part, if it does not end in it.
        let part = part.char_indices().nth(2 * WIDTH).and_then(|(end, _)| part.get(..end)).unwrap_or(part);
        let masked = if secret { MASK.to_owned() } else { mask_keyed(part) };
        return Some(format!("…{}", window(&masked, 0)));
    };
    let line = line.strip_suffix('\r').unwrap_or(line);
    let masked = if secret || enclosed_by_secret(text.get(..start)?, line) { mask_all(line) } else { mask_keyed(line) };
    Some(window(&masked, text.get(start..at).map_or(0, |before| before.chars().count())))
}

/// Whether a key on an earlier, less indented line makes this line (part of) a secret.
fn enclosed_by_secret(before: &str, line: &str) -> bool {
    let indent_of = |line: &str| line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let mut indent = indent_of(line);
    // A list may stand at the indentation of its key.
    let mut list = line.trim_start().starts_with('-');
    for earlier in before.lines().rev().take(LOOK_BACK) {
        let content = earlier.trim_start();
        if content.is_empty()
            || (indent_of(earlier) >= indent
                && !(list && !content.starts_with('-') && indent_of(earlier) + 2 >= indent))
        {
            continue;
        }
        let content = content.trim_start_matches(['-', ' ']);
        if let Some((key, value)) = content.split_once(':')
            && is_secret(key.trim().trim_matches(['"', '\'']))
            && opens(value)
        {
            return true;
        }
        indent = indent_of(earlier);
        list = earlier.trim_start().starts_with('-');
        if indent == 0 {
            return false;
        }
    }
    false
}

/// Whether a value goes on in the lines below its key.
fn opens(value: &str) -> bool {
    let value = value.trim();
    value.is_empty()
        || value.starts_with(['|', '>', '[', '{', '&', '!'])
        || (value.starts_with(['"', '\'']) && !value.ends_with(['"', '\'', ',']))
}

/// Masks the values of secret keys on a line, in YAML and JSON alike.
fn mask_keyed(line: &str) -> String {
    let mut output = String::with_capacity(line.len());
    let mut rest = line;
    let mut flow = false;
    while let Some((before, after)) = around_secret(rest, flow) {
        output.push_str(before);
        output.push_str(MASK);
        flow |= before.contains(['{', '[']);
        rest = after;
    }
    output.push_str(rest);
    output
}

/// What stands before and after the value of the next secret key on the line.
fn around_secret(text: &str, flow: bool) -> Option<(&str, &str)> {
    for (colon, _) in text.match_indices(':') {
        let (before, after) = text.split_at_checked(colon)?;
        let name = before.trim_end().trim_end_matches(['"', '\'']);
        let name = name.rsplit(|char: char| !(char.is_ascii_alphanumeric() || char == '_' || char == '-')).next();
        if !name.is_some_and(is_secret) {
            continue;
        }
        let value = after.strip_prefix(':').unwrap_or(after).trim_start();
        let length = value_length(value, flow || before.contains(['{', '[']));
        if length > 0 && !value.starts_with(['|', '>']) {
            let start = text.len() - value.len();
            return Some((text.get(..start)?, value.get(length..)?));
        }
    }
    None
}

/// How long the value at the start of the text is; plain scalars end at the line's end, in flow style at the next delimiter.
fn value_length(value: &str, flow: bool) -> usize {
    let mut depth = 0_usize;
    let mut chars = value.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '[' | '{' => depth += 1,
            ']' | '}' if depth > 0 => depth -= 1,
            quote @ ('"' | '\'') if at == 0 || depth > 0 => {
                // To the end of the quoted text; doubled single quotes and escaped double ones do not end it.
                while let Some((_, char)) = chars.next() {
                    let doubled = quote == '\'' && char == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'');
                    if doubled || (quote == '"' && char == '\\') {
                        chars.next();
                    } else if char == quote {
                        break;
                    }
                }
            }
            // A plain scalar.
            _ if depth == 0 => {
                let end = if flow { value.find([',', '}', ']']) } else { None };
                return end.and_then(|end| value.get(..end)).unwrap_or(value).trim_end().len();
            }
            _ => {}
        }
        if depth == 0 {
            return chars.peek().map_or(value.len(), |(next, _)| *next);
        }
    }
    value.len()
}

/// Keeps the structure of a line and masks everything that could be a value.
fn mask_all(line: &str) -> String {
    let content = line.trim_start_matches([' ', '\t', '-']);
    let (lead, content) = line.split_at(line.len() - content.len());
    let is_key = |key: &str| key.chars().all(|char| char.is_ascii_alphanumeric() || "_-\"'".contains(char));
    match content.split_once(':') {
        Some((key, value)) if is_key(key) && !value.trim().is_empty() => format!("{lead}{key}: {MASK}"),
        Some((key, _)) if is_key(key) => line.into(),
        _ if content.trim().trim_matches(['[', ']', '{', '}', ',']).is_empty() => line.into(),
        _ => format!("{lead}{MASK}"),
    }
}

/// The part of a long line around a column.
fn window(line: &str, column: usize) -> String {
    if line.chars().count() <= WIDTH {
        return line.into();
    }
    let from = column.saturating_sub(WIDTH / 2);
    let shown: String = line.chars().skip(from).take(WIDTH).collect();
    format!("{}{shown}…", if from > 0 { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: usize) -> String {
        let start = text.lines().take(line - 1).map(|line| line.len() + 1).sum();
        super::line(text, start, start, false).unwrap()
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (text, line, expected) in [
            ("host: example.com", 1, "host: example.com"),
            ("secret: hunter2", 1, "secret: •••"),
            ("  - secret: 'hun: ter2' # note", 1, "  - secret: ••• # note"),
            (
                "{\"key\": \"k\", \"secret\": \"hun\\\"ter2\", \"port\": 80}",
                1,
                "{\"key\": •••, \"secret\": •••, \"port\": 80}",
            ),
            ("secret: 'it''s hunter2' # x", 1, "secret: ••• # x"),
            ("client_secret: [\"a]hunter2\", 'b']", 1, "client_secret: •••"),
            ("{secret: {a: hunter2}, b: 1}", 1, "{secret: •••, b: 1}"),
            ("- {username: x, secret: hunter2, tags: [a]}", 1, "- {username: x, secret: •••, tags: [a]}"),
            ("client_secret: [a, b]\nx: 1", 1, "client_secret: •••"),
            ("client_secret:\n- hunter2\n- hunter3", 3, "- •••"),
            ("client_secret:\n  - hunter2", 2, "  - •••"),
            ("a:\n  key: |\n    -----BEGIN\n    hunter2\nb: 1", 4, "    •••"),
            ("a:\n  key: |\n    hunter2\n  port: x", 4, "  port: x"),
            ("\"client_secret\": [\n  \"hunter2\"\n]", 2, "  •••"),
            ("rsa_public_key: abc", 1, "rsa_public_key: abc"),
            ("uri_param_names: [jwt]", 1, "uri_param_names: [jwt]"),
            ("jwt_secrets:\n- key: a\n  algorithm: HS1", 3, "  algorithm: HS1"),
            ("secret:\n  nested: x", 2, "  nested: •••"),
        ] {
            assert_eq!(shown(text, line), expected, "{text}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let text = format!("{}x{}", "a".repeat(1000), "b".repeat(1000));
        let shown = line(&text, 0, 1000, false).unwrap();
        assert!(shown.contains("aaxbb") && shown.chars().count() < WIDTH + 3, "{shown}");
        let text =
            format!("{{\"secret\": \"hunter2\", {}\"port\": -1, \"secret\": \"hunter3\"}}", "\"x\": 1, ".repeat(1000));
        let shown = line(&text, 0, text.find("-1").unwrap(), false).unwrap();
        assert_eq!(shown, "…-1, \"secret\": •••}");
    }
}
