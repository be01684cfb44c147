//! Authenticates the senders of requests: signatures, and delegations from key to key.

use super::envelope::{Action, Envelope};
use super::public_key::{KeyError, PublicKey};
use super::refusal::Refusal;
use candid::Principal;
use ic_transport_types::{Delegation, DelegationPermissions, RequestId, SenderInfo, SignedDelegation};

/// Maximum length of a chain of delegations.
const MAX_DELEGATIONS: usize = 20;
/// Prefix of the message that a canister signs to certify information about a sender.
const INFO_DOMAIN: &[u8] = b"\x0eic-sender-info";
/// Maximum number of targets of a delegation.
const MAX_TARGETS: usize = 1_000;

/// What the delegations of a sender allow (not who the sender is: that is in the request's content).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The canisters that may be called; `None` for all.
    targets: Option<Vec<Principal>>,
    earliest_expiry: Option<u64>,
}

impl Sender {
    /// Returns a sender without delegations.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Returns the canisters to which the delegations are limited; `None` for all.
    pub fn into_targets(self) -> Option<Vec<Principal>> {
        self.targets
    }

    /// Returns the earliest expiry of the delegations, nanoseconds since 1970; `None` if there are none.
    pub fn earliest_expiry(&self) -> Option<u64> {
        self.earliest_expiry
    }

    /// Verifies that the request comes from its sender, and that the delegations allow it. The root key, in DER, is for
    /// canister signatures.
    pub fn authenticate(
        envelope: &Envelope,
        id: &RequestId,
        action: Action,
        root_key: &[u8],
    ) -> Result<Self, Refusal> {
        let Envelope { content, sender_pubkey, sender_sig, sender_delegation } = envelope;
        let (key, signature) = match (sender_pubkey, sender_sig) {
            (None, None) if content.sender == Principal::anonymous() => {
                return match (sender_delegation, content.sender_info()) {
                    (None, None) => Ok(Self::unlimited()),
                    (Some(_), _) => Err(invalid_signature("the anonymous sender has no delegations")),
                    (None, Some(_)) => Err(invalid_sender_info("the anonymous sender has none")),
                };
            }
            (None, None) => {
                return Err(Refusal::bad_request(format!("Missing signature from user: {}", content.sender)));
            }
            (Some(key), Some(signature)) => (key, signature),
            _ => return Err(invalid_signature("sender_pubkey and sender_sig go together")),
        };
        if content.sender == Principal::anonymous() {
            return Err(invalid_signature("the anonymous sender does not sign"));
        }
        let owner = Principal::self_authenticating(key);
        if owner != content.sender {
            return Err(Refusal::bad_request(format!(
                "The user id {} does not match the public key {}",
                content.sender,
                hex::encode(key)
            )));
        }
        let delegations = sender_delegation.as_deref().unwrap_or_default();
        let sender = Self::of_delegations(delegations, action)?;
        let signing_key = verify_delegations(key, delegations, root_key)?;
        PublicKey::from_der(signing_key)
            .and_then(|key| key.verify(&id.signable(), signature, root_key))
            .map_err(|error| invalid_signature(&error.to_string()))?;
        if let Some(info) = content.sender_info() {
            verify_info(info, key, root_key)?;
        }
        if let (Some(targets), Some(canister), Action::Call | Action::Query) =
            (&sender.targets, content.canister_id(), action)
            && !targets.contains(&canister)
        {
            return Err(invalid_delegation(&format!(
                "Canister {canister} is not one of the delegation targets."
            )));
        }
        Ok(sender)
    }

    /// Returns what all delegations of a chain allow; an error if one does not permit the action.
    fn of_delegations(delegations: &[SignedDelegation], action: Action) -> Result<Self, Refusal> {
        if delegations.len() > MAX_DELEGATIONS {
            return Err(invalid_delegation(&format!(
                "Chain of delegations is too long: got {} delegations, but at most {MAX_DELEGATIONS} are allowed.",
                delegations.len()
            )));
        }
        let mut sender = Self::unlimited();
        for SignedDelegation { delegation, .. } in delegations {
            let Delegation { pubkey: _, expiration, targets, permissions } = delegation;
            sender.earliest_expiry =
                Some(sender.earliest_expiry.map_or(*expiration, |earlier| earlier.min(*expiration)));
            if let Some(targets) = targets {
                if targets.len() > MAX_TARGETS {
                    return Err(invalid_delegation(&format!(
                        "Delegation has too many targets: got {}, but at most {MAX_TARGETS} are allowed.",
                        targets.len()
                    )));
                }
                let allowed = match sender.targets.take() {
                    None => targets.clone(),
                    Some(before) => before.into_iter().filter(|target| targets.contains(target)).collect(),
                };
                sender.targets = Some(allowed);
            }
            if *permissions == Some(DelegationPermissions::Queries) && action == Action::Call {
                return Err(invalid_delegation(
                    "The delegation permits queries and reading the state only, not calls.",
                ));
            }
        }
        Ok(sender)
    }
}

/// Verifies each delegation with the key before it, and that no key appears twice. Returns the last key.
fn verify_delegations<'a>(
    first_key: &'a [u8],
    delegations: &'a [SignedDelegation],
    root_key: &[u8],
) -> Result<&'a [u8], Refusal> {
    let mut keys = vec![first_key];
    let mut signing_key = first_key;
    for signed in delegations {
        PublicKey::from_der(signing_key)
            .and_then(|key| key.verify(&signed.delegation.signable(), &signed.signature, root_key))
            .map_err(|error| invalid_delegation(&error.to_string()))?;
        signing_key = &signed.delegation.pubkey;
        if keys.contains(&signing_key) {
            return Err(invalid_delegation(&format!(
                "Chain of delegations contains a cycle: the key {} appears twice.",
                hex::encode(signing_key)
            )));
        }
        keys.push(signing_key);
    }
    Ok(signing_key)
}

/// Verifies a canister's statement about the sender: only the canister to which the sender's public key belongs may
/// make one.
fn verify_info(info: &SenderInfo, sender_pubkey: &[u8], root_key: &[u8]) -> Result<(), Refusal> {
    let key = match PublicKey::from_der(sender_pubkey) {
        Ok(PublicKey::Canister(key)) => key,
        _ => return Err(invalid_sender_info("sender_pubkey is not a key of canister signatures")),
    };
    if key.canister().as_slice() != info.signer {
        return Err(invalid_sender_info(&format!(
            "the signer 0x{:.100} is not the canister {} of sender_pubkey",
            hex::encode(&info.signer),
            key.canister()
        )));
    }
    key.verify(&[INFO_DOMAIN, &info.info].concat(), &info.sig, root_key)
        .map_err(|error| invalid_sender_info(&KeyError::Canister(error).to_string()))
}

/// The three refusals differ only in their text: it begins with what is invalid.
fn invalid_signature(text: &str) -> Refusal {
    Refusal::bad_request(format!("Invalid signature: {text}"))
}

fn invalid_sender_info(text: &str) -> Refusal {
    Refusal::bad_request(format!("Invalid sender_info: {text}"))
}

fn invalid_delegation(text: &str) -> Refusal {
    Refusal::bad_request(format!("Invalid delegation: {text}"))
}
