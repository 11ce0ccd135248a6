//! The files of the page, as `console/build.mjs` made them.

use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A file as it is sent.
#[derive(Debug)]
pub struct File {
    pub path: &'static str,
    pub content_type: &'static str,
    pub plain: &'static [u8],
    pub gzip: Bytes,
    /// An entity tag: the file's digest, quoted.
    pub tag: String,
}

impl File {
    fn new(path: &'static str, content_type: &'static str, plain: &'static [u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing into memory does not fail; were it to, the file would come out short and a test would say so.
        let gzip = encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, plain);
        let hex: String = digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { path, content_type, plain, gzip: gzip.into(), tag: format!("\"{hex}\"") }
    }
}

macro_rules! embedded {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/console/dist/", $name))
    };
}

/// Compressed when the first of them is asked for.
static FILES: LazyLock<[File; 4]> = LazyLock::new(|| {
    [
        File::new("/", "text/html; charset=utf-8", embedded!("index.html")),
        File::new("/app.js", "text/javascript; charset=utf-8", embedded!("app.js")),
        File::new("/app.css", "text/css; charset=utf-8", embedded!("app.css")),
        File::new("/icon.svg", "image/svg+xml", embedded!("icon.svg")),
    ]
});

pub fn all() -> &'static [File] {
    &*FILES
}

/// The file at a path.
pub fn find(path: &str) -> Option<&'static File> {
    let path = if path == "/index.html" { "/" } else { path };
    all().iter().find(|file| file.path == path)
}
