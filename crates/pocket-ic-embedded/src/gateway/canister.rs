//! The Candid interface between gateways and canisters: requests, responses, and pieces of streamed bodies.

use candid::types::Label;
use candid::types::value::{IDLArgs, IDLField, IDLValue};
use candid::{CandidType, Decode, Deserialize, Principal, Reserved, idl_hash};
use serde_bytes::ByteBuf;
use std::fmt;

/// The latest certificate version that gateways support.
pub const CERTIFICATE_VERSION: u16 = 2;

/// A request of a browser.
#[derive(Clone, Debug, CandidType)]
pub struct HttpRequest {
    pub method: String,
    /// Path and query.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: ByteBuf,
    /// The latest certificate version that the gateway supports; absent in `http_request_update`.
    pub certificate_version: Option<u16>,
}

impl HttpRequest {
    /// Returns the argument of `http_request` or `http_request_update`.
    pub fn encode(&self) -> candid::Result<Vec<u8>> {
        candid::encode_one(self)
    }
}

/// A canister's response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body, or its first piece.
    pub body: Vec<u8>,
    /// Whether the request must be made again as an update. (Not about upgrades of canisters.)
    pub upgrade: bool,
    /// The rest of the body, if it is streamed.
    pub rest: Option<Rest>,
}

/// How to get the next piece of a body: a query of this method of this canister, with the token.
#[derive(Clone, Debug)]
pub struct Rest {
    pub canister: Principal,
    pub method: String,
    /// The query's argument: a value of any type.
    pub token: IDLValue,
}

/// A reply that is not of the expected type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response does not decode: {}", self.0)
    }
}

impl HttpResponse {
    pub fn decode(reply: &[u8]) -> Result<Self, Malformed> {
        #[derive(CandidType, Deserialize)]
        struct Typed {
            status_code: u16,
            headers: Vec<(String, String)>,
            #[serde(with = "serde_bytes")]
            body: Vec<u8>,
            upgrade: Option<bool>,
            /// Only whether there is one: its token can be of any type, so [`decode_rest`] decodes it.
            streaming_strategy: Option<Reserved>,
        }
        let typed = Decode!(reply, Typed).map_err(malformed)?;
        let rest = match typed.streaming_strategy {
            None => None,
            Some(Reserved) => decode_rest(reply)?,
        };
        Ok(Self {
            status: typed.status_code,
            headers: typed.headers,
            body: typed.body,
            upgrade: typed.upgrade == Some(true),
            rest,
        })
    }
}

/// A piece of a body, and the token of the next.
#[derive(Clone, Debug)]
pub struct Piece {
    pub body: Vec<u8>,
    /// The argument of the next query; `None` at the end.
    pub token: Option<IDLValue>,
}

impl Piece {
    pub fn decode(reply: &[u8]) -> Result<Self, Malformed> {
        #[derive(CandidType, Deserialize)]
        struct Typed {
            #[serde(with = "serde_bytes")]
            body: Vec<u8>,
            /// Only whether there is one, since it can be of any type.
            token: Option<Reserved>,
        }
        // By convention the reply is an optional record; some canisters reply with the record itself, which means the
        // same.
        let Some(Typed { body, token }) = Decode!(reply, Option<Typed>).map_err(malformed)? else {
            // Candid decodes a value of another type as `None`, too.
            return match decode_untyped(reply)? {
                IDLValue::None | IDLValue::Null => Ok(Self { body: Vec::new(), token: None }),
                _ => Err(Malformed("it is not a piece of a body".into())),
            };
        };
        let token = match token {
            None => None,
            Some(Reserved) => {
                let record = decode_untyped(reply)?;
                field(unwrap_opt(&record), "token").map(|token| unwrap_opt(token).clone())
            }
        };
        Ok(Self { body, token })
    }
}

/// Encodes a token as the argument of a query.
pub fn encode_token(token: &IDLValue) -> candid::Result<Vec<u8>> {
    IDLArgs::new(std::slice::from_ref(token)).to_bytes()
}

/// Decodes the streaming strategy as an untyped value.
fn decode_rest(reply: &[u8]) -> Result<Option<Rest>, Malformed> {
    let record = decode_untyped(reply)?;
    let Some(strategy) = field(&record, "streaming_strategy").map(unwrap_opt) else {
        return Ok(None);
    };
    let IDLValue::Variant(variant) = strategy else {
        return Err(Malformed("streaming_strategy is not a variant".into()));
    };
    let IDLField { id, val } = variant.0.as_ref();
    if id.get_id() != idl_hash("Callback") {
        return Err(Malformed("streaming_strategy is not Callback".into()));
    }
    match (field(val, "callback"), field(val, "token")) {
        (Some(IDLValue::Func(canister, method)), Some(token)) => {
            Ok(Some(Rest { canister: *canister, method: method.clone(), token: token.clone() }))
        }
        _ => Err(Malformed("streaming_strategy has no callback or no token".into())),
    }
}

/// Decodes the first value of a reply, whatever its type.
fn decode_untyped(reply: &[u8]) -> Result<IDLValue, Malformed> {
    let values = IDLArgs::from_bytes(reply).map_err(malformed)?;
    values.args.into_iter().next().ok_or_else(|| Malformed("it is empty".into()))
}

/// Returns a field; `None` if there is none, or if the value is not a record.
fn field<'a>(record: &'a IDLValue, name: &str) -> Option<&'a IDLValue> {
    let IDLValue::Record(fields) = record else {
        return None;
    };
    let id = Label::Named(name.into()).get_id();
    fields.iter().find(|field| field.id.get_id() == id).map(|field| &field.val)
}

/// Returns the content of an optional value, and any other value as it is.
fn unwrap_opt(value: &IDLValue) -> &IDLValue {
    match value {
        IDLValue::Opt(value) => value,
        other => other,
    }
}

fn malformed(error: impl fmt::Display) -> Malformed {
    Malformed(error.to_string())
}
