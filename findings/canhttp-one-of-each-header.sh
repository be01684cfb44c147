#!/usr/bin/env bash
# canhttp 0.6.1, ic-cdk-management-canister 0.1.1 and http 1.5.0 (crates.io), HTTPS outcalls of canisters
#
# Expected: a response can have several headers of one name, and all of them count (RFC 9110, 5.2 and 5.3: their values
#   are combined, in order; Set-Cookie is never combined). http::HeaderMap keeps several with `append`.
# Actual: HttpResponseConverter inserts each header in place of the one before it, so of several with the same name only
#   the last is left, without an error. Requests are converted with all of their headers.
# Affected: canisters that read more than the body: an API that sends one Link or Set-Cookie line for each value seems
#   to have only the last, so the next page or the session is not found. Read HttpRequestResult before it is converted.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use canhttp::{convert::Convert, http::{HttpRequestConverter, HttpResponseConverter}};
use ic_cdk_management_canister::{HttpHeader, HttpRequestResult};

fn main() {
    let headers = [("link", "</items?page=3>; rel=\"next\""), ("link", "</items?page=9>; rel=\"last\""), ("set-cookie", "session=1"), ("set-cookie", "theme=dark"), ("vary", "accept")];

    let request = headers.iter().fold(http::Request::get("https://example.com/"), |request, (name, value)| request.header(*name, *value));
    println!("a request:");
    for header in HttpRequestConverter.try_convert(request.body(vec![]).unwrap()).unwrap().headers {
        println!("  {}: {}", header.name, header.value);
    }

    let headers = headers.map(|(name, value)| HttpHeader { name: name.into(), value: value.into() }).to_vec();
    let response = HttpResponseConverter.try_convert(HttpRequestResult { status: 200u16.into(), headers, body: vec![] }).unwrap();
    println!("a response:");
    for (name, value) in response.headers() {
        println!("  {name}: {}", value.to_str().unwrap());
    }
}
EOF
rust_program > seen <<'EOF'
canhttp = { version = "=0.6.1", features = ["http"] }
http = "=1.5.0"
ic-cdk-management-canister = "=0.1.1"
EOF
expect_seen <<'EOF'
a request:
  link: </items?page=3>; rel="next"
  link: </items?page=9>; rel="last"
  set-cookie: session=1
  set-cookie: theme=dark
  vary: accept
a response:
  link: </items?page=9>; rel="last"
  set-cookie: theme=dark
  vary: accept
EOF
