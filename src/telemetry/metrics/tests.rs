use super::*;
use crate::auth::Reason;
use crate::auth::state::Verdict;
use crate::telemetry::Latencies;

fn request(route: &RouteMetrics, status: u16, from_service: bool) {
    let latencies = Latencies {
        total: Duration::from_millis(30),
        upstream: from_service.then_some(Duration::from_millis(20)),
        gateway: Duration::from_micros(120),
    };
    route.request(status, from_service, latencies, 10, 20);
}

#[test]
fn names_and_labels_are_those_of_the_documentation() {
    let metrics = Metrics::default();
    let route = RouteMetrics::new(&metrics, "orders", "backend");
    request(&route, 200, true);
    request(&route, 401, false);
    request(&metrics.unmatched(), 404, false);
    route.auth("jwt", Verdict::Allowed);
    route.auth("jwt", Verdict::Denied(Reason::Expired));
    route.auth("jwt", Verdict::Anonymous(Reason::NoToken));
    route.verification(&Verification {
        algorithm: Some(crate::jose::Algorithm::Rs256),
        took: Duration::from_micros(17),
        cached: false,
        valid: true,
    });
    metrics.shed(Shed::HeaderTimeout);
    metrics.reloaded(false, Duration::from_millis(3));
    metrics.published(4, UNIX_EPOCH + Duration::from_secs(100), vec![("routes", 1)]);
    let _open = metrics.connections.handled();
    let text = metrics.encode();
    for line in [
        r#"portcullis_auth_requests_total{plugin="jwt",route="orders",result="allow",reason=""} 1"#,
        r#"portcullis_auth_requests_total{plugin="jwt",route="orders",result="deny",reason="expired"} 1"#,
        r#"portcullis_auth_requests_total{plugin="jwt",route="orders",result="anonymous",reason="no_token"} 1"#,
        r#"portcullis_verify_duration_seconds_bucket{algorithm="RS256",cache="miss",result="valid",le="0.00001"} 0"#,
        r#"portcullis_verify_duration_seconds_bucket{algorithm="RS256",cache="miss",result="valid",le="0.00002"} 1"#,
        r#"portcullis_shed_total{cause="header_timeout"} 1"#,
        r#"portcullis_config_reload_total{result="failure"} 1"#,
        "portcullis_config_last_reload_successful 0",
        "portcullis_snapshot_generation 4",
        "portcullis_snapshot_loaded_timestamp_seconds 100",
        r#"portcullis_snapshot_entities{type="routes"} 1"#,
        "portcullis_connections 1",
        r#"portcullis_unmatched_requests_total{code="404"} 1"#,
        r#"kong_http_requests_total{service="backend",route="orders",code="200",source="service",workspace="default",consumer=""} 1"#,
        r#"kong_http_requests_total{service="backend",route="orders",code="401",source="kong",workspace="default",consumer=""} 1"#,
        r#"kong_upstream_latency_ms_bucket{service="backend",route="orders",workspace="default",le="25"} 1"#,
        r#"kong_kong_latency_ms_bucket{service="backend",route="orders",workspace="default",le="1"} 2"#,
        r#"kong_bandwidth_bytes{service="backend",route="orders",direction="egress",workspace="default",consumer=""} 40"#,
    ] {
        assert!(text.contains(line), "no line {line} in\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes"), "no process metrics");
    assert_eq!(metrics.total_requests(), 3);
}

#[test]
fn a_route_keeps_its_counts_over_a_reload_and_loses_them_when_it_is_gone() {
    let metrics = Metrics::default();
    let old = RouteMetrics::new(&metrics, "orders", "backend");
    request(&old, 200, true);
    let new = RouteMetrics::new(&metrics, "orders", "backend");
    drop(old);
    request(&new, 200, true);
    assert_eq!(metrics.total_requests(), 2);
    drop(new);
    assert!(!metrics.encode().contains("orders"));
}

#[test]
fn any_status_a_service_may_send_is_counted_without_panic() {
    let metrics = Metrics::default();
    let route = RouteMetrics::new(&metrics, "r", "s");
    for status in [0, 99, 100, 599, 999, u16::MAX] {
        request(&route, status, true);
    }
    assert_eq!(metrics.total_requests(), 3);
}
