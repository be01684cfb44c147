//! Requests and answers that pass through the proxy are unchanged.

use pocket_ic_embedded::EmbeddedServer;
use session_migrate::proxy::ProxyError;

use crate::{proxy, scratch};

#[test]
fn requests_and_answers_pass_unchanged() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url(), &out);
    let client = reqwest::blocking::Client::new();
    let both = |path: &str, body: Option<&[u8]>| {
        [proxy.url().clone(), server.url()].map(|url| {
            let url = url.join(path).unwrap();
            let request = match body {
                Some(body) => client.post(url).header("content-encoding", "gzip").body(body.to_vec()),
                None => client.get(url),
            };
            let response = request.send().unwrap();
            let headers: Vec<_> = ["content-type", "content-encoding", "content-length"]
                .map(|name| response.headers().get(name).cloned())
                .into();
            (response.status(), headers, response.bytes().unwrap())
        })
    };
    let blob = vec![7; 3_000_000];
    let [through, direct] = both("blobstore", Some(&blob));
    assert_eq!(through, direct);
    let hash = String::from_utf8(direct.2.to_vec()).unwrap();
    for path in
        ["status", "instances", "instances/7/read/get_time", "nowhere?x=1", &format!("blobstore/{hash}")]
    {
        let [through, direct] = both(path, None);
        assert_eq!(through, direct, "{path}");
    }
    for (path, body) in [
        ("instances/0/update/submit_ingress_message", "{}"),
        ("instances/0/read/query", "no json"),
        ("instances/0/update/tick", "{}"),
    ] {
        let [through, direct] = both(path, Some(body.as_bytes()));
        assert_eq!(through, direct, "{path}");
    }
    assert!(matches!(proxy.stop(), Err(ProxyError::NoCallReceived)));
    assert!(!out.exists());
}
