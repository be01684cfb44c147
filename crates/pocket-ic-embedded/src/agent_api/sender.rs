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

/// What the delegations of a sender allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    targets: Option<Vec<Principal>>,
    expires: Option<u64>,
}

impl Sender {
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Returns the canisters to which the delegations are limited; `None` for all.
    pub fn into_targets(self) -> Option<Vec<Principal>> {
        self.targets
    }

    /// Returns the earliest expiry of the delegations, nanoseconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        self.expires
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
                    (Some(_), _) => Err(invalid("the anonymous sender has no delegations")),
                    (None, Some(_)) => Err(sender_info("the anonymous sender has none")),
                };
            }
            (None, None) => {
                return Err(Refusal::bad(format!("Missing signature from user: {}", content.sender)));
            }
            (Some(key), Some(signature)) => (key, signature),
            _ => return Err(invalid("sender_pubkey and sender_sig go together")),
        };
        if content.sender == Principal::anonymous() {
            return Err(invalid("the anonymous sender does not sign"));
        }
        let owner = Principal::self_authenticating(key);
        if owner != content.sender {
            return Err(Refusal::bad(format!(
                "The user id {} does not match the public key {}",
                content.sender,
                hex::encode(key)
            )));
        }
        let links = sender_delegation.as_deref().unwrap_or_default();
        let sender = Self::follow(links, action)?;
        let last = verify_links(key, links, root_key)?;
        PublicKey::from_der(last)
            .and_then(|key| key.verify(&id.signable(), signature, root_key))
            .map_err(|error| invalid(&error.to_string()))?;
        if let Some(info) = content.sender_info() {
            verify_info(info, key, root_key)?;
        }
        if let (Some(targets), Some(canister), Action::Call | Action::Query) =
            (&sender.targets, content.canister_id(), action)
            && !targets.contains(&canister)
        {
            return Err(delegation(&format!("Canister {canister} is not one of the delegation targets.")));
        }
        Ok(sender)
    }

    fn follow(links: &[SignedDelegation], action: Action) -> Result<Self, Refusal> {
        if links.len() > MAX_DELEGATIONS {
            return Err(delegation(&format!(
                "Chain of delegations is too long: got {} delegations, but at most {MAX_DELEGATIONS} are allowed.",
                links.len()
            )));
        }
        let mut sender = Self::unlimited();
        for SignedDelegation { delegation: link, .. } in links {
            let Delegation { pubkey: _, expiration, targets, permissions } = link;
            sender.expires = Some(sender.expires.map_or(*expiration, |earlier| earlier.min(*expiration)));
            if let Some(targets) = targets {
                if targets.len() > MAX_TARGETS {
                    return Err(delegation(&format!(
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
                return Err(delegation(
                    "The delegation permits queries and reading the state only, not calls.",
                ));
            }
        }
        Ok(sender)
    }
}

/// Verifies each delegation with the key before it, and that no key appears twice. Returns the last key.
fn verify_links<'a>(
    first: &'a [u8],
    links: &'a [SignedDelegation],
    root_key: &[u8],
) -> Result<&'a [u8], Refusal> {
    let mut keys = vec![first];
    let mut signer = first;
    for link in links {
        PublicKey::from_der(signer)
            .and_then(|key| key.verify(&link.delegation.signable(), &link.signature, root_key))
            .map_err(|error| delegation(&error.to_string()))?;
        signer = &link.delegation.pubkey;
        if keys.contains(&signer) {
            return Err(delegation(&format!(
                "Chain of delegations contains a cycle: the key {} appears twice.",
                hex::encode(signer)
            )));
        }
        keys.push(signer);
    }
    Ok(signer)
}

/// Verifies a canister's statement about the sender: only the canister to which the sender's public key belongs may
/// make one.
fn verify_info(info: &SenderInfo, key: &[u8], root_key: &[u8]) -> Result<(), Refusal> {
    let key = match PublicKey::from_der(key) {
        Ok(PublicKey::Canister(key)) => key,
        _ => return Err(sender_info("sender_pubkey is not a key of canister signatures")),
    };
    if key.canister().as_slice() != info.signer {
        return Err(sender_info(&format!(
            "the signer 0x{:.100} is not the canister {} of sender_pubkey",
            hex::encode(&info.signer),
            key.canister()
        )));
    }
    key.verify(&[INFO_DOMAIN, &info.info].concat(), &info.sig, root_key)
        .map_err(|error| sender_info(&KeyError::Canister(error).to_string()))
}

fn invalid(text: &str) -> Refusal {
    Refusal::bad(format!("Invalid signature: {text}"))
}

fn sender_info(text: &str) -> Refusal {
    Refusal::bad(format!("Invalid sender_info: {text}"))
}

fn delegation(text: &str) -> Refusal {
    Refusal::bad(format!("Invalid delegation: {text}"))
}
