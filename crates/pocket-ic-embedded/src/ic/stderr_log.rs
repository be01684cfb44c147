//! Canister logs on the server's standard error, in the format that readers of PocketIC logs expect.

use crate::stderr;
use candid::Principal;
use time::OffsetDateTime;

pub fn print(canister: Principal, time_nanos: u64, content: &[u8]) {
    stderr::line(line(canister, time_nanos, content));
}

fn line(canister: Principal, time_nanos: u64, content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_nanos)) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09} UTC: [Canister {canister}] {text}",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.nanosecond()
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
            line(id, 1_620_328_630_000_000_006, b"text"),
            "2021-05-06 19:17:10.000000006 UTC: [Canister lxzze-o7777-77777-aaaaa-cai] text"
        );
    }
}
