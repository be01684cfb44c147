//! Identities from PEM files, as `icp identity export` and `dfx identity export` write them.

use std::path::Path;
use std::sync::Arc;

use ic_agent::Identity;
use ic_agent::identity::{BasicIdentity, Prime256v1Identity, Secp256k1Identity};

use super::NetworkError;

/// Reads an identity from an unencrypted PEM file with an Ed25519, secp256k1 or P-256 key.
pub fn read_identity(path: &Path) -> Result<Arc<dyn Identity>, NetworkError> {
    let refused = |detail: String| NetworkError::Identity { path: path.to_path_buf(), detail };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    if let Ok(identity) = BasicIdentity::from_pem(&pem) {
        return Ok(Arc::new(identity));
    }
    if let Ok(identity) = Secp256k1Identity::from_pem(&pem) {
        return Ok(Arc::new(identity));
    }
    match Prime256v1Identity::from_pem(&pem) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(error) => Err(refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test keys, created by `openssl genpkey` and `openssl ecparam -genkey`: PEM label, key and principal.
    const KEYS: [(&str, &str, &str); 4] = [
        (
            "PRIVATE KEY",
            "MC4CAQAwBQYDK2VwBCIEIFXAVzsbqX1H+5TFdV9y5IQpt5mkXS+Z+BRX1jHJ1/iZ",
            "lkwtv-4yp7g-gdue6-i2kkp-h3eod-j5jw3-4mqkk-yqlo2-kuaqr-xq74e-vae",
        ),
        (
            "EC PRIVATE KEY",
            "MHQCAQEEIJE/1fbOeXWZw7/hbGoeVJJZ0iPdlZi1ahT3V3YZcX5FoAcGBSuBBAAKoUQDQgAEIQp1o/4k8ZFASHq9V56UjtZgOX5gJad3\
             DLAo/2plEGeIamLMJ9Nc0BBdpUTP5tyLZ+HSnro0WU+DtxeWUslJFA==",
            "dhmh2-h6vka-k2zw2-q5v3i-dxwgk-waphj-syfj6-j4uwy-l7yp4-rhkus-hqe",
        ),
        (
            "PRIVATE KEY",
            "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJxesnIf7KprVV3gqPesggAKYA/XnYatMFTsSw3+rNoGhRANCAAQO+Ght\
             hBCT9q0Lf594s4BwUf3wh313X7ut11EDVtk3xarFV2W6xEovf03lw3Websa6OK+dMhZE2qnQK3rNyGAe",
            "nuihb-dew4z-m67dr-ceiv5-wo3j6-u67ha-ipfpw-l7mud-4rmxp-j7qc3-5ae",
        ),
        (
            "EC PRIVATE KEY",
            "MHcCAQEEIIlZQGH0egY23fMmCpzZ+0YPJY9DSgShn69jY/FIy2IxoAoGCCqGSM49AwEHoUQDQgAEn/kIVk/0Y8nxElgsmd6lacq+4waM\
             Yvo/joBI6EnndnVswt0d8yccdXsSiNX4i6i9Eug9ouYVl6JM47P9yZpYsg==",
            "uwepm-hxvn4-ov74n-z5xv6-c7b53-3j2yl-lhrgl-grdcr-afp2l-ay2zu-gqe",
        ),
    ];

    fn read(pem: &str) -> Result<Arc<dyn Identity>, NetworkError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        read_identity(file.path())
    }

    #[test]
    fn each_kind_of_key_is_read() {
        for (label, key, principal) in KEYS {
            let pem = format!("-----BEGIN {label}-----\n{key}\n-----END {label}-----\n");
            assert_eq!(read(&pem).unwrap().sender().unwrap().to_text(), principal);
        }
    }

    #[test]
    fn file_without_a_key_is_named() {
        for wrong in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let error = read(wrong).err().unwrap().to_string();
            assert!(error.contains(" has no identity: ") && error.contains("secp256k1"), "{error}");
        }
        let error = read_identity(Path::new("not/there.pem")).err().unwrap().to_string();
        assert!(error.starts_with("not/there.pem has no identity: "), "{error}");
    }
}
