//! Calls to the management canister that change another canister.

use candid::{CandidType, Deserialize, Principal, Reserved};

/// What a call to the management canister does to another canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An installation into an empty canister, or a reinstallation.
    Install,
    Upgrade,
    Stop,
    Start,
    /// The canister is uninstalled, deleted, or set to a state that is not in the trace.
    Replace,
}

#[derive(CandidType, Deserialize)]
struct CanisterArg {
    canister_id: Principal,
}

#[derive(CandidType, Deserialize)]
struct InstallCode {
    mode: Mode,
    canister_id: Principal,
}

#[derive(CandidType, Deserialize)]
struct InstallChunkedCode {
    mode: Mode,
    target_canister: Principal,
}

#[derive(CandidType, Deserialize)]
#[allow(non_camel_case_types, reason = "as the interface of the management canister names them")]
enum Mode {
    install,
    reinstall,
    upgrade(Reserved),
}

impl Mode {
    fn change(&self) -> Change {
        match self {
            Mode::install | Mode::reinstall => Change::Install,
            Mode::upgrade(_) => Change::Upgrade,
        }
    }
}

/// Returns which canister a call changes, and how; `None` for any other method, and for arguments that do not decode.
pub(super) fn read_change(method: &str, arg: &[u8]) -> Option<(Principal, Change)> {
    let changed_canister = |change| {
        let CanisterArg { canister_id } = candid::decode_one(arg).ok()?;
        Some((canister_id, change))
    };
    match method {
        "install_code" => {
            let InstallCode { mode, canister_id } = candid::decode_one(arg).ok()?;
            Some((canister_id, mode.change()))
        }
        "install_chunked_code" => {
            let InstallChunkedCode { mode, target_canister } = candid::decode_one(arg).ok()?;
            Some((target_canister, mode.change()))
        }
        "stop_canister" => changed_canister(Change::Stop),
        "start_canister" => changed_canister(Change::Start),
        "uninstall_code" | "delete_canister" | "load_canister_snapshot" => changed_canister(Change::Replace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(CandidType)]
    struct AsSent {
        mode: SentMode,
        canister_id: Principal,
        wasm_module: serde_bytes::ByteBuf,
        arg: serde_bytes::ByteBuf,
        sender_canister_version: Option<u64>,
    }

    #[derive(CandidType)]
    #[allow(non_camel_case_types, dead_code, reason = "as the interface names them")]
    enum SentMode {
        install,
        reinstall,
        upgrade(Option<Flags>),
    }

    #[derive(CandidType)]
    struct Flags {
        skip_pre_upgrade: Option<bool>,
    }

    fn sent(mode: SentMode) -> Vec<u8> {
        let canister_id = Principal::anonymous();
        let (wasm_module, arg) = (vec![7; 1_000_000].into(), vec![].into());
        candid::encode_one(AsSent { mode, canister_id, wasm_module, arg, sender_canister_version: None })
            .unwrap()
    }

    #[test]
    fn an_installation_is_distinguished_from_an_upgrade() {
        let flags = || Some(Flags { skip_pre_upgrade: Some(true) });
        for (mode, expected) in [
            (SentMode::install, Change::Install),
            (SentMode::reinstall, Change::Install),
            (SentMode::upgrade(None), Change::Upgrade),
            (SentMode::upgrade(flags()), Change::Upgrade),
        ] {
            assert_eq!(read_change("install_code", &sent(mode)), Some((Principal::anonymous(), expected)));
        }
        assert_eq!(read_change("install_code", b"DIDL"), None);
        assert_eq!(read_change("create_canister", &sent(SentMode::install)), None);
        // Of these arguments, `stop_canister` has only the canister's id; candid ignores the others.
        let stopped = read_change("stop_canister", &sent(SentMode::install));
        assert_eq!(stopped, Some((Principal::anonymous(), Change::Stop)));
    }
}
