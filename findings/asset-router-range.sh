#!/usr/bin/env bash
# ic-asset-certification 4.0.1 with ic-http-certification 4.0.1 (crates.io), AssetRouter::serve_asset and Range
#
# Expected: a server may ignore Range and answer with all of the file, or with 206 or 416 (RFC 9110, 14.2); a fallback
#   is for requests without an exact match (serve_asset's documentation).
# Actual: the first byte of a range is looked up as part of the asset's name. Only multiples of 2,000,000 are found, in
#   files above 2,000,000 bytes. For every other first byte, and for every range of a smaller file, the answer is the
#   fallback page, with 200 and certified, or "No asset was found" if there is no fallback. The last N bytes
#   (bytes=-100) are a request error. The end of a range is ignored: bytes=0-99 of a large file returns 2,000,000 bytes.
# Affected: films and sound of up to 2,000,000 bytes do not play in browsers that ask for bytes=0-, downloads cannot be
#   continued and get index.html appended. Remove the header before serve_asset, unless it asks for exactly one of the
#   pieces.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_asset_certification::{Asset, AssetConfig, AssetFallbackConfig, AssetRouter};
use ic_http_certification::HttpRequest;

fn show(router: &AssetRouter, path: &str, range: Option<&str>) {
    let headers = range.iter().map(|range| ("range".to_string(), range.to_string())).collect();
    let request = HttpRequest::get(path).with_headers(headers).build();
    let said = match router.serve_asset(&[], &request) {
        Ok(response) => {
            let headers = response.headers().iter().filter(|(name, _)| ["content-type", "content-range"].contains(&name.as_str()));
            let headers: Vec<_> = headers.map(|(_, value)| value.as_str()).collect();
            format!("{}, {} bytes, {}", response.status_code().as_u16(), response.body().len(), headers.join(", "))
        }
        Err(error) => error.to_string(),
    };
    println!("{path} {}: {said}", range.unwrap_or("whole"));
}

fn main() {
    let page = AssetConfig::File {
        path: "index.html".into(),
        content_type: Some("text/html".into()),
        headers: vec![],
        fallback_for: vec![AssetFallbackConfig { scope: "/".into(), status_code: None }],
        aliased_by: vec![],
        encodings: vec![],
    };
    let films = AssetConfig::Pattern { pattern: "*.mp4".into(), content_type: Some("video/mp4".into()), headers: vec![], encodings: vec![] };
    for fallback in [true, false] {
        println!("{} fallback:", if fallback { "with a" } else { "without a" });
        let mut router = AssetRouter::new();
        let mut assets = vec![Asset::new("short.mp4", vec![1; 1_000_000]), Asset::new("long.mp4", vec![2; 5_000_000])];
        if fallback {
            assets.push(Asset::new("index.html", b"<title>page</title>".to_vec()));
        }
        router.certify_assets(assets, [page.clone(), films.clone()].into_iter().skip(usize::from(!fallback))).unwrap();
        for range in [None, Some("bytes=0-"), Some("bytes=500000-"), Some("bytes=-100")] {
            show(&router, "/short.mp4", range);
        }
        for range in [None, Some("bytes=0-99"), Some("bytes=2000000-"), Some("bytes=2500000-")] {
            show(&router, "/long.mp4", range);
        }
    }
}
EOF
rust_program > seen <<'EOF'
ic-asset-certification = "=4.0.1"
ic-http-certification = "=4.0.1"
EOF
expect_seen <<'EOF'
with a fallback:
/short.mp4 whole: 200, 1000000 bytes, video/mp4
/short.mp4 bytes=0-: 200, 19 bytes, text/html
/short.mp4 bytes=500000-: 200, 19 bytes, text/html
/short.mp4 bytes=-100: Request error: Malformed range_begin in Range header 'bytes=-100': cannot parse integer from empty string
/long.mp4 whole: 206, 2000000 bytes, video/mp4, bytes 0-1999999/5000000
/long.mp4 bytes=0-99: 206, 2000000 bytes, video/mp4, bytes 0-1999999/5000000
/long.mp4 bytes=2000000-: 206, 2000000 bytes, video/mp4, bytes 2000000-3999999/5000000
/long.mp4 bytes=2500000-: 200, 19 bytes, text/html
without a fallback:
/short.mp4 whole: 200, 1000000 bytes, video/mp4
/short.mp4 bytes=0-: No asset was found matching the current request url: /short.mp4
/short.mp4 bytes=500000-: No asset was found matching the current request url: /short.mp4
/short.mp4 bytes=-100: Request error: Malformed range_begin in Range header 'bytes=-100': cannot parse integer from empty string
/long.mp4 whole: 206, 2000000 bytes, video/mp4, bytes 0-1999999/5000000
/long.mp4 bytes=0-99: 206, 2000000 bytes, video/mp4, bytes 0-1999999/5000000
/long.mp4 bytes=2000000-: 206, 2000000 bytes, video/mp4, bytes 2000000-3999999/5000000
/long.mp4 bytes=2500000-: No asset was found matching the current request url: /long.mp4
EOF
