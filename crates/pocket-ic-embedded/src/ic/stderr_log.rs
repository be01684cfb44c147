//! Canister logs on the server's standard error, in the format that readers of PocketIC logs expect.

use crate::stderr;
use candid::Principal;
use time::OffsetDateTime;

/// Prints one text of a canister's log; `time_nanos` is the IC time of the message, not the host's.
pub fn print(canister: Principal, time_nanos: u64, content: &[u8]) {
    stderr::print_line(format_line(canister, time_nanos, content));
}

fn format_line(canister: Principal, time_nanos: u64, content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_nanos)) {
        Ok(time) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09} UTC: [Canister {canister}] {text}",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.nanosecond()
        ),
        // The time is beyond the year 9999.
        Err(_) => format!("{time_nanos} ns: [Canister {canister}] {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_date_canister_and_text() {
        let id = Principal::from_text("lxzze-o7777-77777-aaaaa-cai").unwrap();
        assert_eq!(
            format_line(id, 1_620_328_630_000_000_006, b"text"),
            "2021-05-06 19:17:10.000000006 UTC: [Canister lxzze-o7777-77777-aaaaa-cai] text"
        );
    }
}
