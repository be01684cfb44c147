//! Records of capsules and memories, and the rights they grant.

use candid::Principal;
use minicbor::{Decode, Encode};

use crate::api::{
    AssetMetadata, BlobRef, Capsule, CapsuleAccess, ExternalAsset, HashAlgorithm, Memory, PersonRef,
    StorageBackend,
};
use crate::blob::{BlobId, BlobRecord, ContentDigest};
use crate::stable::codec;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

/// A right to a capsule. Each right includes the rights before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Memories and blobs may be read.
    Read,
    /// Memories may be uploaded, created, changed and deleted.
    Write,
    /// Access lists may be changed, and the capsule may be deleted or made public.
    Own,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read access",
            Self::Write => "write access",
            Self::Own => "ownership",
        })
    }
}

/// A stored capsule.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct CapsuleRecord {
    /// The subject's principal, if the subject is identified by one: zero or one entry.
    #[cbor(n(0), with = "codec::principals")]
    pub subject_principal: Vec<Principal>,
    /// The id of the subject, if the subject is not identified by a principal.
    #[n(1)]
    pub subject_opaque: Option<String>,
    /// Principals who may do everything.
    #[cbor(n(2), with = "codec::principals")]
    pub owners: Vec<Principal>,
    /// Principals who may read, and upload, create, change and delete memories.
    #[cbor(n(3), with = "codec::principals")]
    pub writers: Vec<Principal>,
    /// Principals who may read.
    #[cbor(n(4), with = "codec::principals")]
    pub readers: Vec<Principal>,
    /// When the capsule was created, nanoseconds.
    #[n(5)]
    pub created_at: u64,
    /// Number of memories in the capsule.
    #[n(6)]
    pub memory_count: u64,
    /// Bytes that the memories of the capsule store inline.
    #[n(7)]
    pub inline_bytes: u64,
    /// The creator, against whose limit the capsule counts. `None` in records from before capsules were counted: the
    /// capsule counts for nobody.
    #[cbor(n(8), with = "codec::opt_principal")]
    pub created_by: Option<Principal>,
    /// Whether everyone may read the blobs of the capsule; absent if not.
    #[n(9)]
    pub is_public: Option<bool>,
}

impl CapsuleRecord {
    /// Creates the record of a capsule with this subject, owned by `owner`.
    pub fn new(subject: PersonRef, owner: Principal, created_at: u64) -> Self {
        let (subject_principal, subject_opaque) = match subject {
            PersonRef::Principal(principal) => (vec![principal], None),
            PersonRef::Opaque(text) => (Vec::new(), Some(text)),
        };
        Self {
            subject_principal,
            subject_opaque,
            owners: vec![owner],
            writers: Vec::new(),
            readers: Vec::new(),
            created_at,
            memory_count: 0,
            inline_bytes: 0,
            created_by: Some(owner),
            is_public: None,
        }
    }

    /// Returns the highest right of `who`; `None` for a stranger. The anonymous principal never has a right, even if a
    /// list contains it, since anyone can use that principal.
    pub fn access_of(&self, who: &Principal) -> Option<Access> {
        if *who == Principal::anonymous() {
            None
        } else if self.owners.contains(who) {
            Some(Access::Own)
        } else if self.writers.contains(who) {
            Some(Access::Write)
        } else if self.readers.contains(who) {
            Some(Access::Read)
        } else {
            None
        }
    }

    /// Returns whether everyone may read the blobs of the capsule.
    pub fn is_public(&self) -> bool {
        self.is_public == Some(true)
    }

    /// Iterates over all principals on the access lists; a principal on two lists appears twice.
    pub fn members(&self) -> impl Iterator<Item = &Principal> {
        self.owners.iter().chain(&self.writers).chain(&self.readers)
    }

    /// Replaces the access lists.
    pub fn set_access(&mut self, access: CapsuleAccess) {
        let CapsuleAccess { owners, writers, readers } = access;
        self.owners = owners;
        self.writers = writers;
        self.readers = readers;
    }

    /// Converts to the interface's type.
    pub fn to_api(&self, id: &str) -> Capsule {
        let subject = match (self.subject_principal.first(), &self.subject_opaque) {
            (Some(principal), _) => PersonRef::Principal(*principal),
            (None, text) => PersonRef::Opaque(text.clone().unwrap_or_default()),
        };
        Capsule {
            id: id.to_owned(),
            subject,
            owners: self.owners.clone(),
            writers: self.writers.clone(),
            readers: self.readers.clone(),
            created_at: self.created_at,
            memory_count: self.memory_count,
            is_public: Some(self.is_public()),
        }
    }
}

/// A stored memory.
#[derive(Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct MemoryRecord {
    /// The capsule that contains the memory.
    #[n(0)]
    pub capsule_id: String,
    /// The client's metadata.
    #[n(1)]
    pub asset_metadata: AssetMetadata,
    /// Where the bytes of the memory are.
    #[n(2)]
    pub content: Content,
    /// When the memory was created, nanoseconds.
    #[n(3)]
    pub created_at: u64,
    /// Who created the memory.
    #[cbor(n(4), with = "codec::principal")]
    pub created_by: Principal,
    /// The call that created the memory; absent for an upload.
    #[n(5)]
    pub request: Option<Request>,
}

/// Identifies a `memories_create` call, so that a repetition is recognized.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Request {
    /// Hash of the idempotency key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub idem_key: [u8; 32],
    /// Hash of the other parameters.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub fingerprint: [u8; 32],
}

/// Where the bytes of a memory are.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub enum Content {
    /// In a blob.
    #[n(0)]
    Blob {
        /// Number of the blob.
        #[n(0)]
        id: u64,
        /// Digest of the bytes.
        #[cbor(n(1), with = "minicbor::bytes")]
        checksum: [u8; 32],
        /// Size, bytes.
        #[n(2)]
        size: u64,
        /// Hash function of the digest; absent for SHA-256.
        #[n(3)]
        algorithm: Option<HashAlgorithm>,
    },
    /// In the record.
    #[n(1)]
    Inline(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Elsewhere, according to the client.
    #[n(2)]
    External {
        /// Kind of the store that holds the bytes.
        #[n(0)]
        backend: StorageBackend,
        /// Key in that store.
        #[n(1)]
        storage_key: Option<String>,
        /// URL of the bytes.
        #[n(2)]
        url: Option<String>,
        /// Size according to the client, bytes.
        #[n(3)]
        size: u64,
        /// SHA-256 of the bytes according to the client.
        #[cbor(n(4), with = "codec::opt_bytes")]
        checksum: Option<ByteBuf>,
    },
}

impl Content {
    /// Returns the content of a memory whose bytes are in a committed blob.
    pub fn blob(id: BlobId, blob: &BlobRecord) -> Self {
        let ContentDigest { algorithm, bytes } = blob.digest;
        let algorithm = Some(algorithm).filter(|algorithm| *algorithm != HashAlgorithm::Sha256);
        Self::Blob { id: id.0, checksum: bytes, size: blob.size, algorithm }
    }

    /// Returns the size in bytes.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Blob { size, .. } | Self::External { size, .. } => *size,
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// Returns the number of bytes that are stored in the record.
    pub const fn inline_bytes(&self) -> u64 {
        if let Self::Inline(bytes) = self { bytes.len() as u64 } else { 0 }
    }

    /// Returns the SHA-256 of the bytes; `None` for a blob with a BLAKE3, and for external bytes if the client gave
    /// none.
    pub fn sha256(&self) -> Option<ByteBuf> {
        self.blob_ref().hash
    }

    fn blob_ref(&self) -> BlobRef {
        let (locator, sha256, blake3) = match self {
            Self::Blob { id, checksum, algorithm, .. } => {
                let digest = ContentDigest { algorithm: algorithm.unwrap_or_default(), bytes: *checksum };
                (BlobId(*id).to_string(), digest.as_sha256(), digest.as_blake3())
            }
            Self::Inline(bytes) => {
                ("inline".into(), Some(ByteBuf::from(Sha256::digest(bytes).to_vec())), None)
            }
            Self::External { checksum, .. } => ("external".into(), checksum.clone(), None),
        };
        BlobRef { locator, hash: sha256, len: self.size(), blake3 }
    }
}

impl MemoryRecord {
    /// Converts to the interface's type.
    pub fn to_api(&self, id: &str) -> Memory {
        let (inline, external) = match &self.content {
            Content::Blob { .. } => (None, None),
            Content::Inline(bytes) => (Some(ByteBuf::from(bytes.clone())), None),
            Content::External { backend, storage_key, url, .. } => {
                let (storage_key, url) = (storage_key.clone(), url.clone());
                (None, Some(ExternalAsset { backend: *backend, storage_key, url }))
            }
        };
        Memory {
            id: id.to_owned(),
            capsule_id: self.capsule_id.clone(),
            asset_metadata: self.asset_metadata.clone(),
            blob: self.content.blob_ref(),
            inline,
            external,
            created_at: self.created_at,
            created_by: self.created_by,
        }
    }
}

const VERSION: u8 = 1;

codec::cbor_record!(CapsuleRecord, "capsule", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(CapsuleRecord, cbor VERSION);

codec::cbor_record!(MemoryRecord, "memory", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(MemoryRecord, cbor VERSION);
