#!/usr/bin/env bash
# icrc-ledger-types 0.2.0 (crates.io), the messages that ledgers make for wallets (ICRC-21)
#
# Expected: utc_offset_minutes is the user's local time zone offset in minutes from UTC (ICRC-21; time zones are from -720
#   to 840), and the message states what is agreed to: an amount is a natural number (ICRC-1: `amount : nat`).
# Actual: the offset is multiplied by 60 as an i16, which ends at 546 minutes. For Adelaide, Sydney, Auckland and Honolulu
#   the end of an allowance is "Invalid timestamp: 1735689600000000000" in a build that does not check overflows, as
#   release builds do not; Tokyo and Los Angeles are fine. The amount is divided as a floating-point number, so about 16
#   digits are right: one smallest unit less than a token with 18 decimals is shown as 1. The message in fields is exact,
#   and an error from 2^64 on, which is 18.45 such tokens.
# Affected: wallets that pass on the offset of the browser: people in these time zones cannot see until when they allow
#   something. Shops that distinguish payments by their last digits. Clients can ask with no offset, and for fields.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{Encode, Nat, Principal};
use icrc_ledger_types::icrc1::{account::Account, transfer::TransferArg};
use icrc_ledger_types::icrc2::approve::ApproveArgs;
use icrc_ledger_types::icrc21::lib::build_icrc21_consent_info_for_icrc1_and_icrc2_endpoints as build;
use icrc_ledger_types::icrc21::{requests::*, responses::*};

fn message(method: &str, arg: Vec<u8>, utc_offset_minutes: Option<i16>, device: DisplayMessageType, decimals: u8) -> String {
    let request = ConsentMessageRequest {
        method: method.into(),
        arg,
        user_preferences: ConsentMessageSpec {
            metadata: ConsentMessageMetadata { language: "en".into(), utc_offset_minutes },
            device_spec: Some(device),
        },
    };
    match build(request, Principal::from_slice(&[1; 29]), Nat::from(2u8), "TOK".into(), "Token".into(), decimals) {
        Ok(info) => match info.consent_message {
            ConsentMessage::GenericDisplayMessage(text) => {
                let mut lines = text.lines().skip_while(|line| !line.contains("**Amount") && !line.contains("expiration"));
                let first = lines.next().unwrap();
                if first.contains("Amount") { first.into() } else { lines.next().unwrap().into() }
            }
            ConsentMessage::FieldsDisplayMessage(fields) => {
                format!("{:?}", fields.fields.into_iter().find(|(name, _)| name == "Amount").unwrap().1)
            }
        },
        Err(error) => format!("{error:?}"),
    }
}

fn main() {
    let to = Account::from(Principal::from_slice(&[2; 29]));
    for (place, offset) in [("London", 0), ("Los Angeles", -480), ("Honolulu", -600), ("Tokyo", 540), ("Adelaide", 570), ("Sydney", 600), ("Auckland", 780)] {
        let approval = ApproveArgs {
            spender: to,
            amount: Nat::from(5u8),
            expires_at: Some(1_735_689_600_000_000_000),
            from_subaccount: None,
            expected_allowance: None,
            fee: None,
            memo: None,
            created_at_time: None,
        };
        let arg = Encode!(&approval).unwrap();
        println!("until, {place}, {offset}: {}", message("icrc2_approve", arg, Some(offset), DisplayMessageType::GenericDisplay, 8));
    }
    for (decimals, amount) in [(8, 9_007_199_254_740_993), (18, 999_999_999_999_999_999), (18, 1_234_567_890_123_456_789), (18, 18_500_000_000_000_000_000u128)] {
        for device in [DisplayMessageType::GenericDisplay, DisplayMessageType::FieldsDisplay] {
            let transfer = TransferArg { to, amount: Nat::from(amount), from_subaccount: None, fee: None, memo: None, created_at_time: None };
            println!("{amount} of {decimals} decimals: {}", message("icrc1_transfer", Encode!(&transfer).unwrap(), None, device, decimals));
        }
    }
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
icrc-ledger-types = "=0.2.0"

[profile.dev.package.icrc-ledger-types]
overflow-checks = false
EOF
expect_seen <<'EOF'
until, London, 0: Wed, 01 Jan 2025 00:00:00 +0000
until, Los Angeles, -480: Tue, 31 Dec 2024 16:00:00 -0800
until, Honolulu, -600: Invalid timestamp: 1735689600000000000
until, Tokyo, 540: Wed, 01 Jan 2025 09:00:00 +0900
until, Adelaide, 570: Invalid timestamp: 1735689600000000000
until, Sydney, 600: Invalid timestamp: 1735689600000000000
until, Auckland, 780: Invalid timestamp: 1735689600000000000
9007199254740993 of 8 decimals: **Amount:** `90071992.54740992 TOK`
9007199254740993 of 8 decimals: TokenAmount { decimals: 8, amount: 9007199254740993, symbol: "TOK" }
999999999999999999 of 18 decimals: **Amount:** `1 TOK`
999999999999999999 of 18 decimals: TokenAmount { decimals: 18, amount: 999999999999999999, symbol: "TOK" }
1234567890123456789 of 18 decimals: **Amount:** `1.2345678901234567 TOK`
1234567890123456789 of 18 decimals: TokenAmount { decimals: 18, amount: 1234567890123456789, symbol: "TOK" }
18500000000000000000 of 18 decimals: **Amount:** `18.5 TOK`
18500000000000000000 of 18 decimals: GenericError { error_code: Nat(500), description: "Failed to convert tokens to u64" }
EOF
