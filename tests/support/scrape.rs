//! Reading `/metrics` as Prometheus does.

use std::collections::BTreeMap;

use prometheus_parse::{Scrape, Value};
use serde_bytes::ByteBuf;
use upload_canister::api::{HttpRequest, HttpResponse};

use super::InstalledCanister;

/// Returns a GET request in the form in which the gateway passes it to the canister.
pub fn get_request(url: &str) -> HttpRequest {
    HttpRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: ByteBuf::new() }
}

/// Parses a page in the Prometheus text format, and returns its samples by name and labels. The test fails unless every
/// sample has a type and a help text, occurs once, and is a number.
pub fn parse_samples(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with('\n'));
    let scrape = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut samples = BTreeMap::new();
    for sample in scrape.samples {
        assert!(scrape.docs.contains_key(&sample.metric), "{sample:?}");
        let value = match sample.value {
            Value::Gauge(value) | Value::Counter(value) => value,
            other => panic!("{} has a type that we do not use: {other:?}", sample.metric),
        };
        let name = match sample.labels.is_empty() {
            true => sample.metric,
            false => format!("{}{{{}}}", sample.metric, sample.labels),
        };
        let before = samples.insert(name.clone(), value);
        assert_eq!(before, None, "{name}");
    }
    // The parser skips lines that it cannot read.
    assert_eq!(samples.len(), page.lines().filter(|line| !line.starts_with('#')).count());
    samples
}

impl InstalledCanister {
    /// Returns the canister's answer to a request that the gateway has passed to it.
    pub fn page(&self, request: HttpRequest) -> HttpResponse {
        self.query_plain("http_request", (request,))
    }

    /// Returns the samples of `/metrics`, by name and labels.
    pub fn scrape(&self) -> BTreeMap<String, f64> {
        let response = self.page(get_request("/metrics"));
        assert_eq!(response.status_code, 200);
        let content_type = response.headers.iter().find(|(name, _)| name == "content-type").unwrap();
        assert!(content_type.1.starts_with("text/plain; version=0.0.4"), "{content_type:?}");
        parse_samples(&String::from_utf8(response.body.into_vec()).unwrap())
    }
}
