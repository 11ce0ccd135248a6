use super::*;
use crate::auth::testing::get;

fn shown(query: &str) -> Vec<String> {
    let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
    arguments(query)
        .map(|(name, value)| match value {
            Some(value) => format!("{}={}", text(name), text(value)),
            None => text(name),
        })
        .collect()
}

#[test]
fn arguments_are_read_as_nginx_does() {
    assert_eq!(
        shown("a=1&b=x%20y+z&c&=4&&d=&e=1=2&%61=%zz&f=%4"),
        ["a=1", "b=x y z", "c", "d=", "e=1=2", "a=%zz", "f=%4"]
    );
    assert_eq!(shown(""), [""; 0]);
    assert_eq!(arguments("a=%ff").next().unwrap().1.unwrap().as_ref(), b"\xff");
}

#[test]
fn a_hundred_arguments_are_seen() {
    let ninety_nine = "x=1&".repeat(99);
    assert_eq!(shown(&format!("{ninety_nine}jwt=t")).last().unwrap(), "jwt=t");
    assert_eq!(shown(&format!("{ninety_nine}x=1&jwt=t")).last().unwrap(), "x=1");
    assert_eq!(shown(&format!("{}jwt=t", "&".repeat(100))), [""; 0], "empty ones count");
}

#[test]
fn a_hundred_header_lines_are_seen() {
    let source = HeaderSource::new("Authorization").unwrap();
    let lines = |before: usize, after: usize| {
        let mut sent = get();
        for n in 0..before {
            sent = sent.header(&format!("x-{n}"), "1");
        }
        sent = sent.header("authorization", "first").header("authorization", "second");
        for n in 0..after {
            sent = sent.header(&format!("y-{n}"), "1");
        }
        source.lines(&sent.headers).map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lines(0, 0), ["first", "second"]);
    assert_eq!(lines(98, 0), ["first", "second"]);
    assert_eq!(lines(99, 0), ["first"]);
    assert_eq!(lines(100, 0), [""; 0]);
    assert_eq!(lines(0, 200), ["first", "second"]);
}

#[test]
fn a_configured_underscore_means_a_dash_too() {
    let source = HeaderSource::new("X_Api_Key").unwrap();
    let first = |sent: crate::auth::testing::Sent| {
        source.lines(&sent.headers).next().map(|line| line.to_str().unwrap().to_owned())
    };
    assert_eq!(first(get().header("x-api-key", "1")).as_deref(), Some("1"));
    assert_eq!(first(get().header("x-api-key", "1").header("x_api_key", "2")).as_deref(), Some("2"));
    assert_eq!(first(get()), None);
    assert!(HeaderSource::new("no header").is_none());
    let plain = HeaderSource::new("x-a").unwrap();
    assert_eq!(plain.lines(&get().header("x_a", "1").headers).count(), 0);
}

#[test]
fn cookies_are_found_as_nginx_finds_them() {
    let value = |lines: &[&str], name: &str| {
        let sent = lines.iter().fold(get(), |sent, line| sent.header("cookie", line));
        cookie(&sent.headers, name).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let one = |line: &str| value(&[line], "sess");
    for (line, found) in [
        ("sess=t", Some("t")),
        ("a=b; sess=t", Some("t")),
        ("a=b;sess=t;c=d", Some("t")),
        ("a=b, sess=t", Some("t")),
        ("SESS=t", Some("t")),
        ("sess=t; sess=u", Some("t")),
        ("sess=; sess=u", Some("")),
        ("sess = t", Some("t")),
        ("sess=t, u", Some("t, u")),
        ("sess=\"t\"", Some("\"t\"")),
        ("sess=a=b", Some("a=b")),
        ("sess", None),
        ("sess; sess=t", Some("t")),
        ("xsess=t", None),
        ("sessx=t", None),
        ("a=sess=t", None),
        ("", None),
        (";;;", None),
    ] {
        assert_eq!(one(line).as_deref(), found, "{line}");
    }
    assert_eq!(value(&["a=b", "sess=t", "sess=u"], "sess").as_deref(), Some("t"));
    assert_eq!(value(&["jwt-cookie=t"], "jwt-cookie").as_deref(), Some("t"));
    assert_eq!(value(&[], "sess"), None);
}

#[test]
fn bearer_is_searched_unanchored() {
    let found = |value: &str| bearer(value.as_bytes()).map(|token| String::from_utf8_lossy(token).into_owned());
    for (value, token) in [
        ("Bearer t", Some("t")),
        ("bearer t", Some("t")),
        ("Bearer  t", Some("t")),
        ("Bearer\tt", Some("t")),
        ("   Bearer t", Some("t")),
        ("Bearer t  ", Some("t")),
        ("xBearer t", Some("t")),
        ("Digest x, Bearer t", Some("t")),
        ("Bearer a, Bearer b", Some("a, Bearer b")),
        ("Bearer Bearer t", Some("Bearer t")),
        ("BearerBearer t", Some("t")),
        ("Bearer \"t\"", Some("\"t\"")),
        ("BEARER t", None),
        ("bEarer t", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer    ", None),
        ("Bearert", None),
        ("Bearer: t", None),
        ("earer t", None),
        ("Basic t", None),
        ("t", None),
        ("", None),
    ] {
        assert_eq!(found(value).as_deref(), token, "{value:?}");
    }
}
