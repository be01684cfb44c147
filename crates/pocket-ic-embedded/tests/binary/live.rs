//! Tests of the option `--live`: a network for tools in one command.

use super::{BINARY, run};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A server that is ended when the test ends, even if the test fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_live_server_prints_what_tools_need() {
    let mut command = Command::new(BINARY);
    command.args(["--live", "--gateway-port", "0", "--hard-ttl", "60"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut printed = Vec::new();
    for line in BufReader::new(server.0.stdout.take().unwrap()).lines() {
        printed.push(line.unwrap());
        // This is the last line that the server prints.
        if printed.last().is_some_and(|line| line.starts_with("    network:")) {
            break;
        }
    }
    // The rest of the first line that begins with this name. `root key:` is in the lines for people, `root-key:` in
    // those for icp.yaml.
    let value = |name: &str| {
        let found = printed.iter().find_map(|line| line.trim_start().strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in {printed:#?}")).trim().to_owned()
    };
    let (url, key) = (value("url:"), value("root key:"));
    // 133 bytes of DER, in hexadecimal.
    assert_eq!(key.len(), 266);
    assert_eq!(
        (value("mode:"), value("root-key:"), value("network:")),
        ("connected".into(), key.clone(), "embedded".into())
    );
    let status = reqwest::blocking::get(format!("{url}/api/v2/status")).unwrap();
    assert_eq!(status.status(), 200);
    let status: serde_cbor::Value = serde_cbor::from_slice(&status.bytes().unwrap()).unwrap();
    let serde_cbor::Value::Map(status) = status else { panic!("{status:?}") };
    let root_key = &status[&serde_cbor::Value::Text("root_key".into())];
    assert_eq!(root_key, &serde_cbor::Value::Bytes(hex::decode(key).unwrap()));
}

#[test]
fn a_network_whose_port_is_taken_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--live", "--gateway-port", &port]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&port) && text.contains("--gateway-port"), "{text}");
}
