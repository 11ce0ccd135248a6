//! Names: resolution at load, changes, failures.

use super::*;

#[test]
fn the_systems_resolver_knows_localhost() {
    let registry = Registry::default();
    let compiled = compile(&registry, &service(json!({"host": "LocalHost", "port": 81})));
    let picked = compiled.pick().unwrap();
    assert_eq!(address(&picked), "127.0.0.1:81");
    assert_eq!(picked.host_header, "LocalHost:81");
}

#[test]
fn a_name_that_does_not_resolve() {
    let (registry, _) = registry();
    let host = compile(&registry, &service(json!({"host": "nowhere.test"})));
    assert_eq!(host.pick().unwrap_err(), PickFault::NameResolution);
    assert!(host.diagnostics.is_empty(), "no fault of the configuration: it may resolve later");
    let balanced = compile(&registry, &upstream(json!({}), &[("nowhere.test:80", 1)]));
    assert_eq!(balanced.pick().unwrap_err(), PickFault::NoPeer);
    let health = registry.upstream_health("up").unwrap();
    assert_eq!(health.targets[0].health, Health::DnsError);
    assert_eq!(PickFault::NameResolution.to_string(), "name resolution failed");
    assert_eq!(PickFault::NoPeer.to_string(), "failure to get a peer from the ring-balancer");
}

#[test]
fn loading_waits_for_names_but_not_for_ever() {
    struct Stuck;
    impl Resolve for Stuck {
        fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            std::thread::sleep(Duration::from_millis(500));
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        }
    }
    let registry = Registry::new(Options::default(), Arc::new(Stuck));
    let dataset = service(json!({"host": "slow.test"}));
    let (destination, _) = unsettled(&registry, &dataset, &mut Vec::new());
    let start = Instant::now();
    assert_eq!(registry.settle(Duration::from_millis(20)), 1);
    assert!(start.elapsed() < Duration::from_millis(400));
    let headers = HeaderMap::new();
    let pick = || destination.pick(&input(&headers), &mut Attempts::default());
    assert_eq!(pick().unwrap_err(), PickFault::NameResolution);
    assert_eq!(registry.settle(Duration::from_secs(5)), 0, "waits for the thread that is at it already");
    assert!(pick().is_ok());
}

#[tokio::test]
async fn names_are_resolved_again() {
    let (registry, table) = registry();
    table.set("a.test", &["10.0.0.1"]);
    let compiled = compile(&registry, &service(json!({"host": "a.test"})));
    let background = registry.clone();
    let task = tokio::spawn(async move { background.run().await });
    assert_eq!(address(&compiled.pick().unwrap()), "10.0.0.1:80");
    table.set("a.test", &["10.0.0.2", "10.0.0.3"]);
    eventually("the new addresses are used", || compiled.spread(10).len() == 2).await;
    assert_eq!(compiled.spread(10)["10.0.0.2:80"], 5);
    table.forget("a.test");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(compiled.spread(10).len(), 2, "the last answer is kept while the name fails");
    table.set("a.test", &["10.0.0.4"]);
    eventually("it recovers", || compiled.spread(10).contains_key("10.0.0.4:80")).await;

    // What a later configuration brings is resolved without `settle`, too.
    table.set("b.test", &["10.0.0.5"]);
    let dataset = service(json!({"host": "b.test"}));
    let (destination, _) = unsettled(&registry, &dataset, &mut Vec::new());
    let headers = HeaderMap::new();
    eventually("resolved", || destination.pick(&input(&headers), &mut Attempts::default()).is_ok()).await;
    task.abort();
}

#[test]
fn a_reload_keeps_answers() {
    let (registry, table) = registry();
    table.set("a.test", &["10.0.0.1"]);
    let old = compile(&registry, &service(json!({"host": "a.test"})));
    table.forget("a.test");
    let dataset = service(json!({"host": "a.test", "port": 99}));
    let (new, _) = unsettled(&registry, &dataset, &mut Vec::new());
    let headers = HeaderMap::new();
    assert_eq!(address(&new.pick(&input(&headers), &mut Attempts::default()).unwrap()), "10.0.0.1:99");
    assert!(old.pick().is_ok());
}

#[test]
fn srv_names_are_said_not_to_be_looked_up() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(json!({"use_srv_name": true}), &[("10.0.0.1:80", 1)]));
    let [diagnostic] = &compiled.diagnostics[..] else { panic!("{:?}", compiled.diagnostics) };
    assert_eq!((diagnostic.code, diagnostic.is_error()), ("use-srv-name", false));
    assert_eq!(diagnostic.path, "upstreams.up.use_srv_name");
}
