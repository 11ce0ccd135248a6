//! A measurement, not a check: `cargo test --release --lib declarative::tests::scale -- --ignored --nocapture`.

use std::fmt::Write as _;
use std::time::Instant;

use super::*;

/// A number of kibibytes the kernel counts for this process.
fn kernel(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[test]
#[ignore = "a measurement"]
fn a_large_file() {
    let consumers: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let mut text = String::from("{\"_format_version\": \"3.0\", \"consumers\": [");
    for n in 0..consumers {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(
            text,
            "{comma}\n  {{\"username\": \"user-{n}\", \"custom_id\": \"{n:012x}\", \"jwt_secrets\": [{{\"key\": \"key-{n}\", \"secret\": \"0123456789abcdef0123456789{n:08x}\"}}]}}"
        );
    }
    text.push_str("]}\n");
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let size = text.len();
    drop(text);
    let before = kernel("VmRSS");
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    let loaded = crate::declarative::load_files(&[file.path().to_owned()], &options()).unwrap();
    let took = start.elapsed();
    println!(
        "{consumers} consumers with a credential each, {} MiB of JSON: {took:.2?}; held {} MiB, at most {} MiB",
        size >> 20,
        kernel("VmRSS").saturating_sub(before) >> 10,
        kernel("VmHWM").saturating_sub(before) >> 10,
    );
    assert_eq!((loaded.dataset.consumers.len(), loaded.dataset.jwt_secrets.len()), (consumers, consumers));
    let start = Instant::now();
    let found = loaded.lint(options().now).len();
    println!("lint: {found} findings in {:.2?}", start.elapsed());
}
