//! Checks that the derived shape is what minicbor writes, and that the rules predict what minicbor reads.

use minicbor::{Decode, Encode};
use stable_schema::{
    Body, Compatibility, Encoding, Rule, Shape, StableSchema, Tag, Value, Way, compare_values,
};

mod old {
    use super::*;

    #[derive(Encode, Decode, StableSchema, Clone, Debug, PartialEq)]
    pub struct Account {
        #[n(0)]
        pub owner: String,
        #[cbor(n(1), with = "minicbor::bytes")]
        pub digest: [u8; 4],
        #[n(2)]
        pub limit: Option<u32>,
        #[cbor(n(3), default)]
        pub tags: Vec<String>,
        #[n(4)]
        pub state: State,
    }

    #[derive(Encode, Decode, StableSchema, Clone, Debug, PartialEq)]
    pub enum State {
        #[n(0)]
        Open,
        #[n(1)]
        Closed {
            #[n(0)]
            at: u64,
        },
    }
}

/// New versions of the old account, each changed as its module's name says; `added_optional` also widens `limit`.
mod new {
    use super::*;

    macro_rules! accounts {
        ($($module:ident { $($field:tt)* })*) => {
            $(pub mod $module {
                use super::*;

                #[derive(Encode, Decode, StableSchema, Clone, Debug, PartialEq)]
                pub struct Account { $($field)* }
            })*
        };
    }

    accounts! {
        narrowed {
            #[n(0)] pub owner: String, #[cbor(n(1), with = "minicbor::bytes")] pub digest: [u8; 4],
            #[n(2)] pub limit: Option<u8>, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
        }
        required {
            #[n(0)] pub owner: String, #[cbor(n(1), with = "minicbor::bytes")] pub digest: [u8; 4],
            #[n(2)] pub limit: u32, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
        }
        added_required {
            #[n(0)] pub owner: String, #[cbor(n(1), with = "minicbor::bytes")] pub digest: [u8; 4],
            #[n(2)] pub limit: Option<u32>, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
            #[n(5)] pub since: u64,
        }
        added_optional {
            #[n(0)] pub owner: String, #[cbor(n(1), with = "minicbor::bytes")] pub digest: [u8; 4],
            #[n(2)] pub limit: Option<u64>, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
            #[n(5)] pub since: Option<u64>,
        }
        renumbered {
            #[n(1)] pub owner: String, #[cbor(n(0), with = "minicbor::bytes")] pub digest: [u8; 4],
            #[n(2)] pub limit: Option<u32>, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
        }
        other_length {
            #[n(0)] pub owner: String, #[cbor(n(1), with = "minicbor::bytes")] pub digest: [u8; 8],
            #[n(2)] pub limit: Option<u32>, #[cbor(n(3), default)] pub tags: Vec<String>, #[n(4)] pub state: old::State,
        }
        fewer_fields {
            #[n(0)] pub owner: String,
        }
    }

    #[derive(Encode, Decode, StableSchema, Clone, Debug, PartialEq)]
    #[cbor(map)]
    pub struct AsMap {
        #[n(0)]
        pub owner: String,
    }
}

fn account() -> old::Account {
    let state = old::State::Closed { at: 7 };
    old::Account { owner: "a".into(), digest: [1; 4], limit: Some(300), tags: vec!["x".into()], state }
}

/// Returns the worst verdict on the upgrade from the old account to `T`.
fn verdict<T: StableSchema>() -> Compatibility {
    let value = |shape| Value::one(1, Body::Cbor(shape));
    let reasons = compare_values(&value(old::Account::shape()), &value(T::shape()), Way::Upgrade);
    reasons.iter().map(|reason| reason.verdict).max().unwrap_or(Compatibility::Unchanged)
}

#[test]
fn minicbor_does_not_read_what_the_rules_forbid() {
    let bytes = minicbor::to_vec(account()).unwrap();
    let none = minicbor::to_vec(old::Account { limit: None, ..account() }).unwrap();
    macro_rules! refused {
        ($($module:ident from $bytes:expr;)*) => {
            $(
                assert!(minicbor::decode::<new::$module::Account>($bytes).is_err(), stringify!($module));
                assert_eq!(verdict::<new::$module::Account>(), Compatibility::Forbidden, stringify!($module));
            )*
        };
    }
    refused! {
        narrowed from &bytes;
        required from &none;
        added_required from &bytes;
        renumbered from &bytes;
        other_length from &bytes;
    }
    // An array is not read as a map, nor a map as an array.
    let owner = minicbor::to_vec(new::fewer_fields::Account { owner: "a".into() }).unwrap();
    assert!(minicbor::decode::<new::AsMap>(&owner).is_err());
    assert!(
        minicbor::decode::<old::Account>(&minicbor::to_vec(new::AsMap { owner: "a".into() }).unwrap())
            .is_err()
    );
}

#[test]
fn minicbor_reads_what_the_rules_call_compatible() {
    let bytes = minicbor::to_vec(account()).unwrap();
    let read: new::added_optional::Account = minicbor::decode(&bytes).unwrap();
    assert_eq!((read.limit, read.since), (Some(300), None));
    assert_eq!(verdict::<new::added_optional::Account>(), Compatibility::Compatible);
}

/// A record with four more fields is read without an error, but the next write drops these fields.
#[test]
fn a_dropped_field_is_lost_without_an_error() {
    let bytes = minicbor::to_vec(account()).unwrap();
    let read: new::fewer_fields::Account = minicbor::decode(&bytes).unwrap();
    assert_eq!(read.owner, "a");
    let value = |shape| Value::one(1, Body::Cbor(shape));
    let [old, new] = [value(old::Account::shape()), value(new::fewer_fields::Account::shape())];
    let reasons: Vec<_> = compare_values(&old, &new, Way::Upgrade)
        .into_iter()
        .map(|reason| (reason.place, reason.rule))
        .collect();
    let dropped = ["digest", "limit", "tags", "state"].map(|name| (format!("v1.{name}"), Rule::DroppedField));
    assert_eq!(reasons, dropped);
}

#[test]
fn a_derived_shape_has_numbers_names_and_encodings() {
    let Shape::Record(account) = old::Account::shape() else { panic!("an account is not a record") };
    let fields: Vec<_> = account
        .fields
        .iter()
        .map(|field| (field.number, field.name.as_str(), field.may_be_absent()))
        .collect();
    assert_eq!(
        fields,
        [
            (0, "owner", false),
            (1, "digest", false),
            (2, "limit", true),
            (3, "tags", true),
            (4, "state", false)
        ]
    );
    assert_eq!(account.fields[1].shape, Shape::FixedBytes(4));
    let Shape::Enum(state) = &account.fields[4].shape else { panic!("a state is not an enum") };
    assert_eq!(state.tag, Tag::Pair);
    let variants: Vec<_> = state
        .variants
        .iter()
        .map(|variant| (variant.number, variant.name.as_str(), variant.fields.len()))
        .collect();
    assert_eq!(variants, [(0, "Open", 0), (1, "Closed", 1)]);
    let Shape::Record(map) = new::AsMap::shape() else { panic!("`AsMap` is not a record") };
    assert_eq!(map.encoding, Encoding::Map);
}

/// With `index_only`, a variant is stored as its number; with `transparent`, a struct is stored as its only field.
#[test]
fn the_shape_of_other_encodings_is_that_of_their_bytes() {
    #[derive(Encode, Decode, StableSchema)]
    #[cbor(index_only)]
    enum Kind {
        #[n(3)]
        Third,
    }

    #[derive(Encode, Decode, StableSchema)]
    #[cbor(transparent)]
    struct Id(#[n(0)] u64);

    assert_eq!(minicbor::to_vec(Kind::Third).unwrap(), [3]);
    let Shape::Enum(kind) = Kind::shape() else { panic!("a kind is not an enum") };
    assert_eq!(kind.tag, Tag::Number);
    assert_eq!(minicbor::to_vec(Id(5)).unwrap(), [5]);
    assert_eq!(Id::shape(), Shape::Uint(64));
}
