#!/usr/bin/env bash
# ic-asset-certification 4.0.1 with ic-http-certification 4.0.1 (crates.io), AssetRouter::certify_assets at a known path
#
# Expected: certifying an asset at a path replaces the asset that is there, and delete_assets_by_path removes every
#   encoding of a path (the crate's documentation, Deleting assets by path).
# Actual: only the encodings that the new version has are replaced. Other encodings of the old version stay and are
#   preferred: clients that accept gzip get the old text, the others the new one. Pieces of a larger old version stay,
#   too, and are served after the end of the new version. All of them count in the root hash, so they are certified.
#   After delete_assets_by_path, they no longer count in the root hash, but are still served. After delete_assets, with
#   the old content and configuration, they are gone, but the root hash differs from that of a router that never had
#   them.
# Affected: a page that is published again without its .gz, a film that became shorter: some readers get the old
#   version, or a version that is not certified. Call delete_assets with the old content first, or begin with a new
#   router.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_asset_certification::{Asset, AssetConfig, AssetEncoding, AssetMap, AssetRouter};
use ic_http_certification::HttpRequest;

fn show(router: &AssetRouter, path: &str, header: Option<(&str, &str)>) {
    let headers = header.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let said = match router.serve_asset(&[], &HttpRequest::get(path).with_headers(headers).build()) {
        Ok(response) => format!("{}, {} bytes of the {}", response.status_code().as_u16(), response.body().len(),
            if response.body()[0] == b'o' { "old" } else { "new" }),
        Err(error) => error.to_string(),
    };
    println!("  {path} {}: {said}", header.map_or("".into(), |(name, value)| format!("{name} {value}")));
}

fn main() {
    let config = || [AssetConfig::Pattern { pattern: "*".into(), content_type: None, headers: vec![], encodings: vec![AssetEncoding::Gzip.default_config()] }];
    let old = || vec![Asset::new("page.txt", vec![b'o'; 900]), Asset::new("page.txt.gz", vec![b'o'; 90]), Asset::new("film.mp4", vec![b'o'; 5_000_000])];
    let new = || vec![Asset::new("page.txt", vec![b'n'; 800]), Asset::new("film.mp4", vec![b'n'; 3_000_000])];
    let mut fresh = AssetRouter::new();
    fresh.certify_assets(new(), config()).unwrap();
    for first in ["nothing", "delete_assets_by_path", "delete_assets"] {
        let mut router = AssetRouter::new();
        router.certify_assets(old(), config()).unwrap();
        match first {
            "delete_assets_by_path" => router.delete_assets_by_path(["/page.txt", "/page.txt.gz", "/film.mp4"]),
            "delete_assets" => router.delete_assets(old(), config()).unwrap(),
            _ => {}
        }
        println!("{first}, then certify_assets of the new version:");
        router.certify_assets(new(), config()).unwrap();
        show(&router, "/page.txt", None);
        show(&router, "/page.txt", Some(("accept-encoding", "gzip")));
        show(&router, "/film.mp4", Some(("range", "bytes=2000000-")));
        show(&router, "/film.mp4", Some(("range", "bytes=4000000-")));
        println!("  {} entries, in a fresh router {}; same root hash: {}", router.get_assets().iter().count(),
            fresh.get_assets().iter().count(), router.root_hash() == fresh.root_hash());
    }
}
EOF
rust_program > seen <<'EOF'
ic-asset-certification = "=4.0.1"
ic-http-certification = "=4.0.1"
EOF
expect_seen <<'EOF'
nothing, then certify_assets of the new version:
  /page.txt : 200, 800 bytes of the new
  /page.txt accept-encoding gzip: 200, 90 bytes of the old
  /film.mp4 range bytes=2000000-: 206, 1000000 bytes of the new
  /film.mp4 range bytes=4000000-: 206, 1000000 bytes of the old
  7 entries, in a fresh router 4; same root hash: false
delete_assets_by_path, then certify_assets of the new version:
  /page.txt : 200, 800 bytes of the new
  /page.txt accept-encoding gzip: 200, 90 bytes of the old
  /film.mp4 range bytes=2000000-: 206, 1000000 bytes of the new
  /film.mp4 range bytes=4000000-: 206, 1000000 bytes of the old
  6 entries, in a fresh router 4; same root hash: true
delete_assets, then certify_assets of the new version:
  /page.txt : 200, 800 bytes of the new
  /page.txt accept-encoding gzip: 200, 800 bytes of the new
  /film.mp4 range bytes=2000000-: 206, 1000000 bytes of the new
  /film.mp4 range bytes=4000000-: No asset was found matching the current request url: /film.mp4
  4 entries, in a fresh router 4; same root hash: false
EOF
