//! The data certificate of a query: it says what a certificate of the network would say, but nobody has signed it.
//!
//! Canisters pass it on with what they answer, and clients can read the certified data and the time from it. It does
//! not verify: there is no key that could have signed it, so the signature is all zeros.

use candid::{Nat, Principal};
use ic_certification::{Certificate, fork, labeled, leaf};
use serde::Serialize;

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 48;

/// The certificate, as self-describing CBOR: certified data of the canister, and the time in nanoseconds since 1970.
pub fn data_certificate(canister: Principal, certified_data: &[u8], time_nanos: u64) -> Option<Vec<u8>> {
    let mut time = Vec::new();
    // The time is written in LEB128, as Candid writes its numbers.
    Nat::from(time_nanos).encode(&mut time).ok()?;
    let data = labeled("certified_data", leaf(certified_data));
    let tree = fork(labeled("canister", labeled(canister.as_slice(), data)), labeled("time", leaf(time)));
    let certificate = Certificate { tree, signature: vec![0; SIGNATURE_BYTES], delegation: None };
    let mut bytes = Vec::new();
    let mut writer = serde_cbor::Serializer::new(&mut bytes);
    writer.self_describe().ok()?;
    certificate.serialize(&mut writer).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_certification::LookupResult;

    #[test]
    fn it_tells_certified_data_and_time() {
        let canister = Principal::from_slice(&[1, 2, 3]);
        let bytes = data_certificate(canister, b"certified", 300).unwrap();
        assert_eq!(bytes[..3], [0xd9, 0xd9, 0xf7]);
        let certificate: Certificate = serde_cbor::from_slice(&bytes).unwrap();
        let path: [&[u8]; 3] = [b"canister", canister.as_slice(), b"certified_data"];
        assert_eq!(certificate.tree.lookup_path(path), LookupResult::Found(b"certified"));
        assert_eq!(certificate.tree.lookup_path([b"time"]), LookupResult::Found(&[0xac, 0x02]));
        assert_eq!(certificate.signature, [0; SIGNATURE_BYTES]);
    }
}
