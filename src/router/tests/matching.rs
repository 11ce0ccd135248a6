//! Kong's cases of matching and of priority, most of them from its own specification files.

use super::*;

/// `(what the route defines, ...)` as a list of routes, the n-th with id n + 1.
macro_rules! routes {
    ($($change:expr),* $(,)?) => {{
        let changes: Vec<Box<dyn FnOnce(&mut Route)>> = vec![$(Box::new($change)),*];
        changes.into_iter().zip(1..).map(|(change, id)| route(id, change)).collect::<Vec<Route>>()
    }};
}

fn paths(items: &'static [&'static str]) -> impl FnOnce(&mut Route) {
    move |route| route.paths = strings(items)
}

fn hosts(items: &'static [&'static str]) -> impl FnOnce(&mut Route) {
    move |route| route.hosts = strings(items)
}

#[test]
fn nothing_matches_without_routes() {
    assert_eq!(Asked::get("/").of(&[]), None);
    assert_eq!(Router::default().find(&Asked::get("/").lookup()), None);
}

#[test]
fn every_attribute_must_match_and_any_value_does() {
    let routes = routes![|route: &mut Route| {
        route.methods = strings(&["GET", "PURGE"]);
        route.hosts = strings(&["a.test", "b.test"]);
        route.paths = strings(&["/one", "/two"]);
    }];
    for (method, host, path, found) in [
        ("GET", "a.test", "/one", Some(0)),
        ("PURGE", "b.test", "/two/x", Some(0)),
        ("get", "a.test", "/one", None),
        ("POST", "a.test", "/one", None),
        ("PROPFIND", "a.test", "/one", None),
        ("GET", "c.test", "/one", None),
        ("GET", "a.test", "/three", None),
        ("GET", "", "/one", None),
    ] {
        assert_eq!(Asked::get(path).method(method).host(host).of(&routes), found, "{method} {host}{path}");
    }
}

#[test]
fn method_only_route_serves_when_nothing_else_matches() {
    let routes =
        routes![|route: &mut Route| route.methods = strings(&["GET"]), hosts(&["a.test"]), paths(&["/my-route"])];
    assert_eq!(Asked::get("/").of(&routes), Some(0));
    assert_eq!(Asked::get("/").method("TRACE").host("a.test").of(&routes), Some(1));
    assert_eq!(Asked::get("/my-route").method("TRACE").of(&routes), Some(2));
    assert_eq!(Asked::get("/").method("TRACE").of(&routes), None);
}

#[test]
fn hosts_match_whole_names_wildcards_and_any_case() {
    let routes = routes![hosts(&["plain.test"]), hosts(&["*.wild.test"]), hosts(&["wild.*"])];
    for (host, found) in [
        ("plain.test", Some(0)),
        ("PLAIN.test", Some(0)),
        ("plain.test.", Some(0)),
        ("plain.test:1234", Some(0)),
        ("x.plain.test", None),
        ("x.wild.test", Some(1)),
        ("X.y.Wild.Test", Some(1)),
        ("wild.test", Some(2)),
        ("wild.a.b", Some(2)),
        ("xwild.test", None),
        ("wild", None),
        ("", None),
    ] {
        assert_eq!(Asked::get("/").host(host).of(&routes), found, "{host}");
    }
}

#[test]
fn plain_host_beats_wildcard() {
    let routes = routes![hosts(&["*.route.test"]), hosts(&["plain.route.test"])];
    assert_eq!(Asked::get("/").host("plain.route.test").of(&routes), Some(1));
    let routes = routes![
        |route: &mut Route| {
            route.hosts = strings(&["*.route.test"]);
            route.paths = strings(&["/path1"]);
        },
        |route: &mut Route| {
            route.hosts = strings(&["plain.route.test"]);
            route.paths = strings(&["/path2"]);
        },
    ];
    assert_eq!(Asked::get("/path1").host("plain.route.test").of(&routes), Some(0));
    assert_eq!(Asked::get("/path2").host("plain.route.test").of(&routes), Some(1));
    // One wildcard among the hosts and none of them counts as plain.
    let routes = routes![hosts(&["plain.test", "*.wild.test"]), hosts(&["plain.test"])];
    assert_eq!(Asked::get("/").host("plain.test").of(&routes), Some(1));
}

#[test]
fn host_patterns_with_a_port() {
    let routes = routes![hosts(&["a.test"]), hosts(&["a.test:80"]), hosts(&["*.b.test:443", "b.test"])];
    let at = |host: &str, listen_port| {
        let mut asked = Asked::get("/").host(host);
        asked.listen_port = listen_port;
        asked.of(&routes)
    };
    assert_eq!(at("a.test:80", 8000), Some(1), "a tie, and the larger id");
    assert_eq!(at("a.test:81", 8000), Some(0));
    assert_eq!(at("a.test", 80), Some(1));
    assert_eq!(at("a.test", 8000), Some(0));
    assert_eq!(at("a.test:8000", 80), Some(0), "the port of Host goes before the listener's");
    assert_eq!(at("x.b.test", 443), Some(2));
    assert_eq!(at("x.b.test", 80), None);
    assert_eq!(at("b.test", 80), Some(2));
    // The tie is decided by the id alone.
    let routes = routes![hosts(&["a.test:80"]), hosts(&["a.test"])];
    assert_eq!(Asked::get("/").host("a.test:80").of(&routes), Some(1));
}

#[test]
fn wildcards_that_are_not_whole_labels_match_as_text() {
    let routes = routes![hosts(&["*b.test"]), hosts(&["c.te*"])];
    assert_eq!(Asked::get("/").host("ab.test").of(&routes), Some(0));
    assert_eq!(Asked::get("/").host("a.test").of(&routes), None);
    assert_eq!(Asked::get("/").host("c.test").of(&routes), Some(1));
}

#[test]
fn prefix_paths_know_no_segments_and_the_longest_wins() {
    let routes = routes![paths(&["/my-route"]), paths(&["/my-route/hello"]), paths(&["/"])];
    for (path, found) in [
        ("/my-route", 0),
        ("/my-route/x", 0),
        ("/my-routeXYZ", 0),
        ("/my-route/hello", 1),
        ("/my-route/hello/world", 1),
        ("/my-rout", 2),
        ("/MY-ROUTE", 2),
    ] {
        assert_eq!(Asked::get(path).of(&routes), Some(found), "{path}");
    }
}

#[test]
fn more_attributes_beat_a_longer_path() {
    let routes = routes![
        paths(&["/root/of/all"]),
        |route: &mut Route| {
            route.paths = strings(&["/root"]);
            route.methods = strings(&["POST"]);
        },
        |route: &mut Route| {
            route.paths = strings(&["/root"]);
            route.hosts = strings(&["a.test"]);
        },
    ];
    assert_eq!(Asked::get("/root/of/all").of(&routes), Some(0));
    assert_eq!(Asked::get("/root/of/all").method("POST").of(&routes), Some(1));
    assert_eq!(Asked::get("/root/of/all").host("a.test").of(&routes), Some(2));
    assert_eq!(Asked::get("/root/of/all").method("POST").host("a.test").of(&routes), Some(2), "plain host");
}

#[test]
fn regex_beats_prefix_within_equal_attributes() {
    let routes = routes![paths(&["/users/123/profile"]), paths(&[r"~/users/\d+/profile"]), |route: &mut Route| {
        route.paths = strings(&[r"~/users/\d+"]);
        route.hosts = strings(&["a.test"]);
    },];
    assert_eq!(Asked::get("/users/123/profile").of(&routes), Some(1));
    assert_eq!(Asked::get("/users/123/profile").host("a.test").of(&routes), Some(2));
    assert_eq!(Asked::get("/users/x/profile").of(&routes), None);
}

#[test]
fn regexes_are_bound_to_the_start_only() {
    let routes = routes![paths(&["~/prefix/[0-9]+"])];
    assert_eq!(Asked::get("/extra/prefix/123").of(&routes), None);
    let found = Asked::get("/prefix/123/hello").find(&routes).unwrap();
    assert_eq!(found.matched.len(), "/prefix/123".len());
    let routes = routes![paths(&["~/a|/b"]), paths(&["~/c$"]), paths(&["~^/d"])];
    assert_eq!(Asked::get("/b").of(&routes), Some(0));
    assert_eq!(Asked::get("/x/b").of(&routes), None, "every alternative is bound");
    assert_eq!(Asked::get("/c").of(&routes), Some(1));
    assert_eq!(Asked::get("/c/").of(&routes), None);
    assert_eq!(Asked::get("/d").of(&routes), Some(2));
}

#[test]
fn regex_priority_orders_regexes_only() {
    let regex = |path: &'static str, priority| {
        move |route: &mut Route| {
            route.paths = strings(&[path]);
            route.regex_priority = priority;
        }
    };
    let routes =
        routes![regex(r"~/status/(\d+)", 10), regex("~/status/200", 5), regex("/status/200", 100), regex("~/stat", -1)];
    assert_eq!(Asked::get("/status/200").of(&routes), Some(0));
    assert_eq!(Asked::get("/status/x").of(&routes), Some(3));
    let routes = routes![regex("~/a", -1), regex("~/a", 0)];
    assert_eq!(Asked::get("/a").of(&routes), Some(1));
    let routes = routes![regex("~/a", 0), regex("~/a", -1)];
    assert_eq!(Asked::get("/a").of(&routes), Some(0));
}

#[test]
fn the_first_listed_regex_is_what_matched() {
    let routes = routes![paths(&["~/a/b", "~/a", "~/a/(?<rest>.*)"])];
    assert_eq!(Asked::get("/a/b/c").find(&routes).unwrap().matched.len(), 4);
    assert_eq!(Asked::get("/a/c").find(&routes).unwrap().matched.len(), 2);
}

#[test]
fn a_route_is_split_by_kind_and_length_of_its_paths() {
    // As one route, the first would win everything by its longest path.
    let routes = routes![paths(&["/a", "/very/long/path", r"~/r\d"]), paths(&["/a/b"]), paths(&["/r1"])];
    assert_eq!(Asked::get("/a/b").of(&routes), Some(1));
    assert_eq!(Asked::get("/a/c").of(&routes), Some(0));
    assert_eq!(Asked::get("/very/long/path/x").of(&routes), Some(0));
    assert_eq!(Asked::get("/r1").of(&routes), Some(0));
}

#[test]
fn ties_go_to_the_larger_id_and_parts_have_ids_of_their_own() {
    let routes = routes![paths(&["/a"]), paths(&["/a"])];
    assert_eq!(Asked::get("/a").of(&routes), Some(1));
    let id = |text: &str| Uuid::parse_str(text).unwrap();
    // uuid5(7f145bf9-0dce-4f91-98eb-debbce4b9f6b, "<id>#1") is 4… for the first and 7… for the second.
    let mut parts: Vec<_> = (1..=40u128).map(|n| route(n, paths(&["/a", "/long"]))).collect();
    let namespace = id("7f145bf9-0dce-4f91-98eb-debbce4b9f6b");
    let part = |route: &Route, n| Uuid::new_v5(&namespace, format!("{}#{n}", route.id).as_bytes());
    let largest = |parts: &[Route], n| (0..parts.len()).max_by_key(|at| part(&parts[*at], n)).unwrap();
    assert_eq!(Asked::get("/a").of(&parts), Some(largest(&parts, 1)));
    assert_eq!(Asked::get("/long").of(&parts), Some(largest(&parts, 2)));
    // Paths of one kind and length are one part, which keeps the route's id.
    parts.push(route(u128::MAX, paths(&["/b", "/a"])));
    assert_eq!(Asked::get("/a").of(&parts), Some(40));
}

#[test]
fn headers_match_by_any_value_without_regard_to_case() {
    let routes =
        routes![|route: &mut Route| route.headers = headers_of(&[("Location", &["my-location-1", "My-Location-2"])])];
    for (name, value, found) in [
        ("location", "my-location-1", Some(0)),
        ("LOCATION", "MY-location-2", Some(0)),
        ("location", "my-location-3", None),
        ("locations", "my-location-1", None),
    ] {
        assert_eq!(Asked::get("/").header(name, value).of(&routes), found, "{name}: {value}");
    }
    assert_eq!(Asked::get("/").of(&routes), None);
    assert_eq!(Asked::get("/").header("location", "x").header("location", "my-location-1").of(&routes), Some(0));
    let both = routes![|route: &mut Route| route.headers = headers_of(&[("a", &["1"]), ("b", &["2"])])];
    assert_eq!(Asked::get("/").header("a", "1").of(&both), None);
    assert_eq!(Asked::get("/").header("a", "1").header("b", "2").of(&both), Some(0));
    let dashes = routes![|route: &mut Route| route.headers = headers_of(&[("x_tenant", &["a"])])];
    assert_eq!(Asked::get("/").header("X-Tenant", "a").of(&dashes), Some(0));
    assert_eq!(Asked::get("/").header("X_Tenant", "a").of(&dashes), Some(0));
}

#[test]
fn header_values_as_regexes() {
    let routes = routes![|route: &mut Route| route.headers = headers_of(&[("user-agent", &["~*CURL/[0-9]", "exact"])])];
    assert_eq!(Asked::get("/").header("user-agent", "x Curl/8.1").of(&routes), Some(0));
    assert_eq!(Asked::get("/").header("user-agent", "EXACT").of(&routes), Some(0));
    assert_eq!(Asked::get("/").header("user-agent", "curl/x").of(&routes), None);
    let (router, said) =
        compile_with_diagnostics(&routes![|route: &mut Route| route.headers = headers_of(&[("a", &[r"~*^\D$"])])]);
    assert_eq!(said.len(), 1);
    assert!(!said[0].is_error(), "{}", said[0]);
    assert_eq!(
        router.find(&Asked::get("/").header("a", "1").lookup()).map(|found| found.route),
        Some(0),
        "Kong's reading"
    );
}

#[test]
fn more_headers_beat_a_longer_path_and_equal_ones_do_not() {
    let with = |path: &'static str, headers: &'static [(&'static str, &'static [&'static str])]| {
        move |route: &mut Route| {
            route.paths = strings(&[path]);
            route.headers = headers_of(headers);
        }
    };
    let routes = routes![
        with("/long/path", &[("a", &["1"])]),
        with("/long", &[("a", &["1"]), ("b", &["1"])]),
        with("/long/path/longer", &[("a", &["1"])]),
    ];
    let asked = Asked::get("/long/path/longer").header("a", "1");
    assert_eq!(asked.of(&routes), Some(2));
    assert_eq!(asked.header("b", "1").of(&routes), Some(1));
}

#[test]
fn snis_count_on_tls_only() {
    let sni = |items: &'static [&'static str]| move |route: &mut Route| route.snis = strings(items);
    let routes = routes![sni(&["sni.test."]), sni(&["*.wild.test"]), sni(&["start.*"])];
    for (name, found) in [
        (Some("sni.test"), Some(0)),
        (Some("SNI.test"), Some(0)),
        (Some("x.wild.test"), Some(1)),
        (Some("start.x"), Some(2)),
        (Some("wild.test"), None),
        (None, None),
    ] {
        assert_eq!(Asked::get("/").sni(name).of(&routes), found, "{name:?}");
    }
    assert_eq!(Asked::get("/").of(&routes), Some(2), "plain HTTP: all match, and it is a tie");
}

#[test]
fn routes_of_the_tcp_family_and_routes_that_ask_for_nothing_do_not_match() {
    let routes = routes![
        |route: &mut Route| {
            route.protocols = vec![Protocol::Tls];
            route.snis = strings(&["a.test"]);
        },
        |route: &mut Route| route.paths = Some(Vec::new()),
    ];
    assert_eq!(Asked::get("/").sni(Some("a.test")).of(&routes), None);
}

#[test]
fn non_ascii_paths_match_their_encoded_form() {
    let routes = routes![paths(&["/caf\u{e9}"]), paths(&["/endel%2Fst"]), paths(&["/with space"])];
    for (raw, found) in [
        ("/caf%c3%a9/x", Some(0)),
        ("/caf\u{e9}", Some(0)),
        ("/endel%2Fst", Some(1)),
        ("/endel%2fst", Some(1)),
        ("/endel/st", None),
        ("/with%20space", Some(2)),
    ] {
        let path = normalise(raw).unwrap();
        assert_eq!(Asked::get(&path).of(&routes), found, "{raw}");
    }
}

#[test]
fn captures_are_there_for_who_asks() {
    let routes = routes![paths(&["/plain"]), paths(&[r"~/users/(?<user>[^/]+)/items/(?P<item>\d+)"])];
    let router = compile(&routes);
    let asked = Asked::get("/users/al ice/items/42/more");
    let found = router.find(&asked.lookup()).unwrap();
    assert_eq!(router.capture(&found, &asked.path, "user"), Some("al ice"));
    assert_eq!(router.capture(&found, &asked.path, "item"), Some("42"));
    assert_eq!(router.capture(&found, &asked.path, "none"), None);
    let asked = Asked::get("/plain");
    let found = router.find(&asked.lookup()).unwrap();
    assert!(router.captures(&found, &asked.path).is_none());
}

#[test]
fn what_cannot_be_compiled_is_said_and_left_out() {
    let (router, said) = compile_with_diagnostics(&routes![
        paths(&["~/a(", "~/b"]),
        paths(&["~/c)|(?:/d"]),
        paths(&["~/e(?=f)"]),
        |route: &mut Route| route.headers = headers_of(&[("not a name", &["x"])]),
        |route: &mut Route| {
            route.name = Some("old".into());
            route.paths = strings(&["/v1"]);
            route.path_handling = PathHandling::V1;
        },
    ]);
    assert_eq!(said.iter().filter(|said| said.is_error()).count(), 4, "{said:?}");
    let warning = said.iter().find(|said| !said.is_error()).unwrap();
    assert_eq!(warning.path, "routes[old].path_handling");
    assert_eq!(router.find(&Asked::get("/b").lookup()).map(|found| found.route), Some(0));
    assert_eq!(router.find(&Asked::get("/v1").lookup()).map(|found| found.route), Some(4));
    for path in ["/a", "/c", "/d", "/ef"] {
        assert_eq!(router.find(&Asked::get(path).lookup()), None, "{path}");
    }
}

/// Many routes in one place of the index: the ways in which crowds are searched.
#[test]
fn crowds_are_searched_by_what_tells_them_apart() {
    let mut routes: Vec<_> = (0..200u128)
        .map(|n| {
            route(n + 1, |route| {
                route.paths = strings(&["/"]);
                route.headers = headers_of(&[("x-tenant", &[&format!("Tenant-{n}")])]);
            })
        })
        .collect();
    routes.extend((200..400u128).map(|n| {
        route(n + 1, |route| {
            route.paths = strings(&["/"]);
            route.snis = strings(&[&format!("s{n}.test")]);
        })
    }));
    routes
        .extend((400..600u128).map(|n| route(n + 1, |route| route.paths = strings(&[&format!(r"~/v\d/(a|b)/r{n}$")]))));
    let router = compile(&routes);
    let find = |asked: Asked| router.find(&asked.lookup()).map(|found| found.route);
    assert_eq!(find(Asked::get("/x").header("X-Tenant", "tenant-77")), Some(77));
    assert_eq!(find(Asked::get("/x").header("X-Tenant", "tenant-200")), Some(399), "plain HTTP ignores SNI");
    assert_eq!(find(Asked::get("/x").sni(Some("S222.test"))), Some(222));
    assert_eq!(find(Asked::get("/v1/b/r555").sni(None)), Some(555));
    assert_eq!(find(Asked::get("/v1/c/r555").sni(None)), None);
}
