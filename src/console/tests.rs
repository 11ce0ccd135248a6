use std::io::Read;

use axum::extract::Request;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};

use super::*;

/// Stands for the Admin API: says what it was asked, and lets every origin read it.
fn echo() -> Router {
    Router::new().fallback(|request: Request| async move {
        ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], format!("{} {}", request.method(), request.uri()))
    })
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = http::Request::builder().method(method).uri(path).header(HOST, "localhost:8002");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let console = router(admin::Options::default(), echo());
    let response = console.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec())
}

#[tokio::test]
async fn the_page_is_small_and_names_nothing_elsewhere() {
    let total: usize = files::all().iter().map(|file| file.gzip.len()).sum();
    assert!((5_000..150_000).contains(&total), "{total} bytes compressed");
    for file in files::all() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*file.gzip).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, file.plain, "{}", file.path);
    }
    let (status, headers, body) = ask("GET", "/", &[]).await;
    assert_eq!(status, 200);
    let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let page = String::from_utf8(body).unwrap();
    for inline in ["<style", "style=", "onclick", "http://", "https://", "<script>"] {
        assert!(!page.contains(inline), "the page contains {inline}");
    }
}

#[tokio::test]
async fn files_are_compressed_for_who_takes_it_and_sent_once() {
    let (_, headers, compressed) = ask("GET", "/app.js", &[("accept-encoding", "br, gzip;q=0.8")]).await;
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    let (_, headers, plain) = ask("GET", "/app.js", &[("accept-encoding", "gzip;q=0, br")]).await;
    assert!(!headers.contains_key(CONTENT_ENCODING) && plain.len() > compressed.len());
    let tag = headers[ETAG].to_str().unwrap().to_owned();
    let (status, headers, body) = ask("GET", "/app.js", &[("if-none-match", &format!("\"x\", {tag}"))]).await;
    assert_eq!((status.as_u16(), body.len()), (304, 0));
    assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
    let (status, _, body) = ask("HEAD", "/app.css", &[]).await;
    assert_eq!((status.as_u16(), body.len()), (200, 0));
    assert_eq!(ask("POST", "/", &[]).await.0, 405);
    assert_eq!(ask("GET", "/../Cargo.toml", &[]).await.0, 404);
}

#[tokio::test]
async fn the_admin_api_is_below_api_for_this_page_alone() {
    let (status, headers, body) = ask("GET", "/api/consumers/a%2Fb?size=5", &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((status.as_u16(), String::from_utf8(body).unwrap().as_str()), (200, "GET /consumers/a%2Fb?size=5"));
    assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "another origin was let in");
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(ask("DELETE", "/api", &[]).await.2, b"DELETE /");
    for site in ["cross-site", "same-site"] {
        let headers = [("sec-fetch-site", site), (ORIGIN.as_str(), "http://evil.example")];
        assert_eq!(ask("GET", "/api/consumers", &headers).await.0, 403, "{site}");
    }
    assert_eq!(ask("GET", "/apix", &[]).await.0, 404);
}

#[tokio::test]
async fn a_rebound_name_gets_no_page() {
    assert_eq!(ask("GET", "/", &[]).await.0, 200);
    let request = http::Request::get("/").header(HOST, "evil.example:8002").body(Body::empty()).unwrap();
    let response = router(admin::Options::default(), echo()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 403);
}
