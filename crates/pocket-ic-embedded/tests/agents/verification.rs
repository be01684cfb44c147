//! Certified pages: which responses the gateway verifies, and which it refuses to serve.

use crate::common::{ANONYMOUS, builder, call, install_wasm};
use crate::gateway::{Page, page, site};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candid::{Encode, Principal};
use ic_agent::hash_tree::{HashTree, fork, label, leaf, pruned};
use ic_http_certification::utils::add_v2_certificate_header;
use ic_http_certification::{
    CERTIFICATE_EXPRESSION_HEADER_NAME, DefaultCelBuilder, DefaultResponseCertification, HttpCertification,
    HttpCertificationPath, HttpCertificationTree, HttpCertificationTreeEntry, HttpResponse, StatusCode,
};
use pocket_ic::PocketIc;
use reqwest::blocking::{Client, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Like the site in `gateway.rs`, but with certificates in its pages.
struct CertifiedSite {
    pic: PocketIc,
    url: String,
    id: Principal,
}

impl CertifiedSite {
    fn new() -> Self {
        let mut pic = builder().with_nns_subnet().with_application_subnet().build();
        let url = pic.make_live(None).to_string();
        let id = install_wasm(&pic, site());
        Self { pic, url, id }
    }

    /// Makes the canister certify this tree, and answer every request with this body and the tree's certificate, by
    /// version 1 of response verification.
    fn put(&self, tree: &HashTree<Vec<u8>>, body: &str) {
        call(&self.pic, self.id, "certify", &tree.digest()).unwrap();
        let certificate = self.pic.query_call(self.id, ANONYMOUS, "certificate", vec![]).unwrap();
        let mut encoded = serde_cbor::Serializer::new(Vec::new());
        encoded.self_describe().unwrap();
        tree.serialize(&mut encoded).unwrap();
        let header = format!(
            "certificate=:{}:, tree=:{}:",
            BASE64_STANDARD.encode(certificate),
            BASE64_STANDARD.encode(encoded.into_inner())
        );
        let page = Page { headers: vec![("IC-Certificate".into(), header)], ..page(body) };
        call(&self.pic, self.id, "put_query", &Encode!(&page).unwrap()).unwrap();
    }

    /// Makes the canister certify status, body and one of two headers, by version 2 of response verification. Returns
    /// the page with the certificate; the test must store it.
    fn certify_with_header(&self, path: &str, body: &str) -> Page {
        let wanted = DefaultResponseCertification::certified_response_headers(vec!["X-Mine"]);
        let expression =
            DefaultCelBuilder::response_only_certification().with_response_certification(wanted).build();
        let headers = [
            ("X-Mine".to_owned(), "yes".to_owned()),
            (CERTIFICATE_EXPRESSION_HEADER_NAME.to_owned(), expression.to_string()),
        ];
        let response = HttpResponse::builder().with_status_code(StatusCode::OK).with_body(body.as_bytes());
        let mut response = response.with_headers(headers.to_vec()).build();
        let certification = HttpCertification::response_only(&expression, &response, None).unwrap();
        let exact_path = HttpCertificationPath::exact(path);
        let entry = HttpCertificationTreeEntry::new(&exact_path, certification);
        let mut tree = HttpCertificationTree::default();
        tree.insert(&entry);
        call(&self.pic, self.id, "certify", &tree.root_hash()).unwrap();
        let certificate = self.pic.query_call(self.id, ANONYMOUS, "certificate", vec![]).unwrap();
        let witness = tree.witness(&entry, path).unwrap();
        add_v2_certificate_header(&certificate, &mut response, &witness, &exact_path.to_expr_path());
        let mut headers = response.headers().to_vec();
        headers.push(("X-Other".into(), "uncertified".into()));
        Page { headers, ..page(body) }
    }

    /// Gets a page; the gateway verifies it if `domain` is `localhost`, and not if it is `raw.localhost`.
    fn get(&self, path: &str, domain: &str) -> Response {
        let host = format!("{}.{domain}", self.id);
        Client::new().get(format!("{}{path}", self.url)).header("host", host).send().unwrap()
    }
}

/// Returns the tree that certifies one page, next to a pruned subtree.
fn tree_of(path: &str, body: &str) -> HashTree<Vec<u8>> {
    let page = label(path, leaf(Sha256::digest(body).to_vec()));
    label("http_assets", fork(page, pruned([7; 32])))
}

#[test]
fn a_certified_page_is_verified() {
    let site = CertifiedSite::new();
    site.put(&tree_of("/a.html", "certified"), "certified");
    let response = site.get("a.html", "localhost");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-response-verification"], "verified; version 1");
    assert_eq!(response.text().unwrap(), "certified");
}

#[test]
fn certified_headers_are_verified_and_no_others_are_served() {
    let site = CertifiedSite::new();
    let put = |page: &Page| call(&site.pic, site.id, "put_query", &Encode!(page).unwrap()).unwrap();
    let good = site.certify_with_header("/a.html", "certified");
    put(&good);
    let response = site.get("a.html", "localhost");
    assert_eq!(response.headers()["x-response-verification"], "verified; version 2");
    assert_eq!(response.headers()["x-mine"], "yes");
    assert!(!response.headers().contains_key("x-other"));
    assert_eq!(response.text().unwrap(), "certified");
    // The same page at a path that it is not certified for; then with another header, and with another status.
    assert_eq!(site.get("b.html", "localhost").status(), 503);
    let mut headers = good.headers.clone();
    headers[0].1 = "no".into();
    put(&Page { headers, ..page("certified") });
    assert_eq!(site.get("a.html", "localhost").status(), 503);
    put(&Page { status_code: 201, ..good });
    assert_eq!(site.get("a.html", "localhost").status(), 503);
}

#[test]
fn a_page_that_is_not_the_certified_one_is_not_served() {
    let site = CertifiedSite::new();
    for (tree, body) in [
        (tree_of("/a.html", "certified"), "another"),
        (tree_of("/b.html", "certified"), "certified"),
        (label("other", leaf(vec![])), "certified"),
    ] {
        site.put(&tree, body);
        let response = site.get("a.html", "localhost");
        assert_eq!(response.status(), 503);
        let text = response.text().unwrap();
        assert!(text.contains("does not verify") && text.contains(".raw.localhost"), "{text}");
        let raw = site.get("a.html", "raw.localhost");
        assert_eq!(raw.headers()["x-response-verification"], "none; served as raw");
        assert_eq!(raw.text().unwrap(), body);
    }
    // The canister certifies other data now, but the page still has the earlier certificate.
    site.put(&tree_of("/a.html", "certified"), "certified");
    call(&site.pic, site.id, "certify", &[1; 32]).unwrap();
    assert_eq!(site.get("a.html", "localhost").status(), 200, "a certificate is valid for five minutes");
}
