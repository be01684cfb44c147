//! Values in CBOR, as agents read them.

use serde::Serialize;

/// Encodes a value in CBOR, beginning with the tag of self-described CBOR.
pub(crate) fn self_described(value: &impl Serialize) -> Result<Vec<u8>, serde_cbor::Error> {
    let mut bytes = Vec::new();
    let mut writer = serde_cbor::Serializer::new(&mut bytes);
    writer.self_describe()?;
    value.serialize(&mut writer)?;
    Ok(bytes)
}
