//! Parses the addresses of requests: version, kind, effective canister or subnet.

use super::refusal::Refusal;
use crate::ic::{Effective, RangesForm};
use candid::Principal;

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallReply {
    /// Immediately, without the outcome, which the client requests later.
    Accepted,
    /// With the outcome, in a certificate whose canister ranges have this form.
    Certificate(RangesForm),
}

/// The kind of a request, with the parameters that its address contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Call { effective: Effective, reply: CallReply },
    Query { effective: Effective },
    ReadState { effective: Effective, ranges_form: RangesForm },
}

impl Address {
    /// Returns the address for the segments of a path after `/api`. `kind` is the kind of the effective id: `canister`
    /// or `subnet`.
    ///
    /// # Errors
    /// If nothing is served at this path, or the id in the path is not a principal.
    pub fn parse(version: &str, kind: &str, effective_id: &str, action: &str) -> Result<Self, Refusal> {
        use RangesForm::{OneList, Sharded};
        let parse_id = |make: fn(Principal) -> Effective| {
            Principal::from_text(effective_id).map(make).map_err(|error| {
                Refusal::bad_request(format!("Invalid {kind} id {effective_id:.100}: {error}"))
            })
        };
        let (canister, subnet) = (|| parse_id(Effective::Canister), || parse_id(Effective::Subnet));
        let certified = CallReply::Certificate;
        Ok(match (version, kind, action) {
            ("v2", "canister", "call") => Self::Call { effective: canister()?, reply: CallReply::Accepted },
            ("v3", "canister", "call") => Self::Call { effective: canister()?, reply: certified(OneList) },
            ("v4", "canister", "call") => Self::Call { effective: canister()?, reply: certified(Sharded) },
            ("v4", "subnet", "call") => Self::Call { effective: subnet()?, reply: certified(Sharded) },
            ("v2" | "v3", "canister", "query") => Self::Query { effective: canister()? },
            ("v3", "subnet", "query") => Self::Query { effective: subnet()? },
            ("v2", "canister", "read_state") => {
                Self::ReadState { effective: canister()?, ranges_form: OneList }
            }
            ("v3", "canister", "read_state") => {
                Self::ReadState { effective: canister()?, ranges_form: Sharded }
            }
            ("v2", "subnet", "read_state") => Self::ReadState { effective: subnet()?, ranges_form: OneList },
            ("v3", "subnet", "read_state") => Self::ReadState { effective: subnet()?, ranges_form: Sharded },
            _ => {
                return Err(Refusal::not_found(format!(
                    "There is no /api/{version:.20}/{kind:.20}/…/{action:.20} on the embedded server"
                )));
            }
        })
    }
}
