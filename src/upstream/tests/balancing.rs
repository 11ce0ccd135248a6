//! The choice among targets: proportions, hashing, load, retries.

use std::collections::HashSet;

use http::header;

use super::*;

const THREE: [(&str, u16); 3] = [("10.0.0.1:80", 100), ("10.0.0.2:80", 100), ("10.0.0.3:80", 100)];

#[test]
fn a_host_that_is_an_address() {
    let (registry, _) = registry();
    let dataset = service(json!({"port": 19001, "connect_timeout": 1, "write_timeout": 2, "read_timeout": 3}));
    let picked = compile(&registry, &dataset).pick().unwrap();
    assert_eq!(address(&picked), "127.0.0.1:19001");
    assert_eq!(picked.host_header, "127.0.0.1:19001");
    let options = &picked.peer.options;
    let millis = |n| Some(Duration::from_millis(n));
    assert_eq!(
        (options.connection_timeout, options.write_timeout, options.read_timeout),
        (millis(1), millis(2), millis(3))
    );
    assert_eq!(options.idle_timeout, Some(Duration::from_secs(60)));
    assert!(!picked.peer.is_tls());
}

#[test]
fn round_robin_by_weight() {
    let (registry, table) = registry();
    table.set("two.test", &["10.0.1.1", "10.0.1.2"]);
    let targets = [("10.0.0.1:80", 100), ("10.0.0.2", 50), ("two.test:81", 50), ("10.0.0.9:80", 0)];
    let compiled = compile(&registry, &upstream(json!({}), &targets));
    let spread = compiled.spread(800);
    assert_eq!(spread["10.0.0.1:80"], 400);
    assert_eq!(spread["10.0.0.2:8000"], 200);
    assert_eq!(spread["10.0.1.1:81"], 100, "addresses of a name share its weight");
    assert_eq!(spread["10.0.1.2:81"], 100);
    assert_eq!(spread.len(), 4, "weight 0 is not used");
}

#[test]
fn host_header_of_targets() {
    let (registry, table) = registry();
    table.set("a.test", &["10.0.0.1"]);
    let own = compile(&registry, &upstream(json!({}), &[("a.test:80", 1)]));
    assert_eq!(own.pick().unwrap().host_header, "a.test");
    let replaced = compile(&registry, &upstream(json!({"host_header": "b.test"}), &[("a.test:8080", 1)]));
    assert_eq!(replaced.pick().unwrap().host_header, "b.test:8080");
}

#[test]
fn retries_avoid_what_was_tried() {
    let (registry, _) = registry();
    for algorithm in ["round-robin", "consistent-hashing", "least-connections", "latency"] {
        let compiled = compile(&registry, &upstream(json!({"algorithm": algorithm, "hash_on": "ip"}), &THREE));
        for _ in 0..50 {
            let mut attempts = Attempts::default();
            let tried: HashSet<_> = (0..3).map(|_| address(&compiled.pick_with(&mut attempts).unwrap())).collect();
            assert_eq!(tried.len(), 3, "{algorithm}");
            assert_eq!(attempts.count(), 3);
            assert!(compiled.pick_with(&mut attempts).is_ok(), "{algorithm}: when all were tried, any will do");
        }
    }
}

#[test]
fn hashing_is_stable_and_spreads() {
    let (registry, _) = registry();
    let fields = json!({"algorithm": "consistent-hashing", "hash_on": "header", "hash_on_header": "x-user"});
    let place = |compiled: &Compiled, user: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", user.parse().unwrap());
        address(&compiled.destination.pick(&input(&headers), &mut Attempts::default()).unwrap())
    };
    let three = compile(&registry, &upstream(fields.clone(), &THREE));
    let users: Vec<String> = (0..3000).map(|n| format!("user-{n}")).collect();
    let before: Vec<String> = users.iter().map(|user| place(&three, user)).collect();
    for target in THREE {
        let share = before.iter().filter(|place| *place == target.0).count();
        assert!((800..1200).contains(&share), "{target:?} has {share}");
    }
    let two = compile(&registry, &upstream(fields, &THREE[..2]));
    let after: Vec<String> = users.iter().map(|user| place(&two, user)).collect();
    let moved = before.iter().zip(&after).filter(|(before, after)| *before != THREE[2].0 && before != after).count();
    assert_eq!(moved, 0, "those whose target stayed stay");
    assert_eq!(after, users.iter().map(|user| place(&two, user)).collect::<Vec<_>>());
}

#[test]
fn hashing_on_each_source() {
    let (registry, _) = registry();
    let compile = |fields: Value| {
        let mut all = json!({"algorithm": "consistent-hashing"});
        merge(&mut all, fields);
        compile(&registry, &upstream(all, &THREE))
    };
    let places = |compiled: &Compiled, inputs: &[HashInput<'_>]| -> HashSet<String> {
        let pick = |input| address(&compiled.destination.pick(input, &mut Attempts::default()).unwrap());
        inputs.iter().map(pick).collect()
    };
    let none = HeaderMap::new();
    let base = input(&none);
    let many = |make: &dyn Fn(u8) -> HashInput<'static>| (0..100).map(make).collect::<Vec<_>>();
    let empty: &'static HeaderMap = Box::leak(Box::default());
    let fixed = HashInput { headers: empty, ..input(empty) };

    let ip = compile(json!({"hash_on": "ip"}));
    assert_eq!(places(&ip, &[base; 50]).len(), 1);
    let clients = many(&|n| HashInput { client: IpAddr::V4(Ipv4Addr::new(10, 1, 1, n)), ..fixed });
    assert_eq!(places(&ip, &clients).len(), 3);

    let consumer = compile(json!({"hash_on": "consumer", "hash_fallback": "path"}));
    let consumers = many(&|n| HashInput { consumer: Some(uuid::Uuid::from_bytes([n; 16])), ..fixed });
    assert_eq!(places(&consumer, &consumers).len(), 3);
    assert_eq!(places(&consumer, &[base; 50]).len(), 1, "falls back to the path");
    let paths = ["/a", "/b", "/c", "/d", "/e", "/f", "/g"].map(|path| HashInput { path, ..base });
    assert!(places(&consumer, &paths).len() > 1);

    let query = compile(json!({"hash_on": "query_arg", "hash_on_query_arg": "u"}));
    let queries = ["u=1&v=2", "v=9&u=1", "u=%31"].map(|query| HashInput { query: Some(query), ..base });
    assert_eq!(places(&query, &queries).len(), 1);
    assert_eq!(places(&query, &[base; 200]).len(), 3, "nothing to hash on: anywhere");

    let capture = compile(json!({"hash_on": "uri_capture", "hash_on_uri_capture": "tenant"}));
    let groups = |name: &str| (name == "tenant").then(|| "acme".to_owned());
    assert_eq!(places(&capture, &[HashInput { uri_capture: Some(&groups), ..base }; 50]).len(), 1);
}

#[test]
fn a_client_without_the_cookie_gets_one() {
    let (registry, _) = registry();
    let fields = json!({"algorithm": "consistent-hashing", "hash_on": "cookie", "hash_on_cookie": "sid", "hash_on_cookie_path": "/x"});
    let compiled = compile(&registry, &upstream(fields, &THREE));
    let mut attempts = Attempts::default();
    let first = address(&compiled.pick_with(&mut attempts).unwrap());
    let cookie = attempts.set_cookie().unwrap().to_str().unwrap().to_owned();
    assert!(cookie.starts_with("sid=") && cookie.ends_with("; Path=/x; SameSite=Lax; HttpOnly"), "{cookie}");
    compiled.pick_with(&mut attempts).unwrap();
    assert_eq!(attempts.set_cookie().unwrap(), cookie.as_str(), "one for all attempts");
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
    let mut attempts = Attempts::default();
    let picked = compiled.destination.pick(&input(&headers), &mut attempts).unwrap();
    assert_eq!(address(&picked), first);
    assert!(attempts.set_cookie().is_none());
}

#[test]
fn streams_are_not_proxied_as_http() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &service(json!({"protocol": "tls_passthrough"})));
    assert_eq!(compiled.pick().unwrap_err(), PickFault::NoPeer);
    let [diagnostic] = &compiled.diagnostics[..] else { panic!("{:?}", compiled.diagnostics) };
    assert_eq!(diagnostic.message, "services of protocol tls_passthrough are not proxied");
}

#[test]
fn least_connections_by_weight() {
    let (registry, _) = registry();
    let targets = [("10.0.0.1:80", 100), ("10.0.0.2:80", 200)];
    let compiled = compile(&registry, &upstream(json!({"algorithm": "least-connections"}), &targets));
    let mut held: Vec<Picked> = (0..30).map(|_| compiled.pick().unwrap()).collect();
    let small = |held: &[Picked]| held.iter().filter(|picked| address(picked) == "10.0.0.1:80").count();
    assert_eq!(small(&held), 10);
    held.retain(|picked| address(picked) != "10.0.0.1:80");
    held.extend((0..10).map(|_| compiled.pick().unwrap()));
    assert_eq!(small(&held), 10, "the places that came free are taken");
}

#[test]
fn latency_prefers_the_quicker() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(json!({"algorithm": "latency"}), &THREE));
    for _ in 0..100 {
        let picked = compiled.pick().unwrap();
        let slow = address(&picked) == "10.0.0.3:80";
        picked.lease.answered(200, Duration::from_millis(if slow { 900 } else { 10 }));
    }
    let spread = compiled.spread(300);
    assert!(!spread.contains_key("10.0.0.3:80"), "of two at random the quicker one: {spread:?}");
    assert!(spread["10.0.0.1:80"] > 50 && spread["10.0.0.2:80"] > 50, "{spread:?}");
}

#[test]
fn a_reload_that_changes_nothing_keeps_the_balancer() {
    let (registry, _) = registry();
    let dataset = upstream(json!({}), &THREE);
    let old = compile(&registry, &dataset);
    let mut touched = dataset.clone();
    let mut entity = (*dataset.upstreams[0]).clone();
    entity.updated_at += 1;
    touched.upstreams[0] = Arc::new(entity);
    let new = compile(&registry, &touched);
    assert!(Arc::ptr_eq(&old.destination.balancer, &new.destination.balancer));
    let fewer = compile(&registry, &upstream(json!({}), &THREE[..2]));
    assert!(!Arc::ptr_eq(&old.destination.balancer, &fewer.destination.balancer));
    drop((old, new, fewer));
    registry.shared.prune();
    assert!(registry.upstream_health("up").is_none(), "what nobody uses is gone");
}

#[test]
fn picks_from_many_threads_are_even() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(json!({}), &THREE));
    let total = Mutex::new(HashMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (address, count) in compiled.spread(900) {
                    *total.lock().entry(address).or_default() += count;
                }
            });
        }
    });
    assert!(total.lock().values().all(|&count| count == 1200), "{total:?}");
}
