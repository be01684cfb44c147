//! Records of the engine as earlier builds have stored them, byte for byte, without the fields that were added since.

use super::*;
use crate::stable::Record;

/// A migration state from before the fields for names, plans, classes, units larger than a message, paces and
/// verifications.
const STATE: &[u8] = &[
    0x01, 0x8d, 0x02, 0x07, 0x09, 0x0a, 0x03, 0x01, 0x01, 0x02, // version, 13 fields: phase to expired
    0x84, 0x01, 0x02, 0x03, 0x04, 0x84, 0x01, 0x02, 0x03, 0x03, // both digests
    0x19, 0x03, 0xe8, 0x60, 0xf6, // instructions, note, nothing interrupted
];

/// A quarantine record from when only the reason and the bytes were stored.
const QUARANTINED: &[u8] = &[0x01, 0x82, 0x63, b'w', b'h', b'y', 0x43, 1, 2, 3];

#[test]
fn a_state_without_the_newer_fields_is_the_same_state() {
    let digest = |lanes: [u64; 4]| {
        let mut digest = MultisetDigest::default();
        let bytes = lanes.map(u64::to_be_bytes).concat();
        digest.add(bytes.try_into().unwrap());
        digest
    };
    let expected = MigrationState {
        phase: Phase::Converting,
        cursor: Some(7),
        validated_through: Some(9),
        source: 10,
        converted: 3,
        already: 1,
        quarantined: 1,
        expired: 2,
        digest_before: digest([1, 2, 3, 4]),
        digest_after: digest([1, 2, 3, 3]),
        instructions: 1_000,
        ..MigrationState::default()
    };
    assert_eq!(MigrationState::decode(STATE), Ok(expected));
}

#[test]
fn a_quarantine_record_of_an_earlier_build_decodes() {
    let expected = QuarantineRecord::new("why".into(), vec![1, 2, 3]);
    assert_eq!(QuarantineRecord::decode(QUARANTINED), Ok(expected));
}
