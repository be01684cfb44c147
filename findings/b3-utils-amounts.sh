#!/usr/bin/env bash
# b3_utils 0.13.1 (crates.io), TokenAmount
#
# Expected: a TokenAmount is a number: "1.5" is read as 15 with one decimal, and displayed as 1.5 (FromStr and Display
#   of the crate), and amounts with different decimals cannot be added by mistake (DifferentDecimals). So its
#   comparisons and its division are those of the numbers, as its multiplication is.
# Actual: comparisons look at the digits first, without the point: 1.25 is more than 1.5. Division gives the quotient
#   the decimals of its operands, although they have cancelled out: 10.00 / 2 is 0.05, and 3.0 / 2.0 is 0.1.
# Affected: canisters that compare amounts that users have typed (the best offer, at least a minimum, sorted lists):
#   1.25 counts as more than 1.5, and 2 as less; and those that divide, to share an amount or by a rate. Give all
#   amounts the same number of decimals before they are compared, and divide their `amount`.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use b3_utils::ledger::currency::TokenAmount;

fn main() {
    let amount = |text: &str| text.parse::<TokenAmount>().unwrap();
    for (paid, price) in [("1.25", "1.5"), ("2", "1.5"), ("1.50", "1.5"), ("0.5", "0.25")] {
        println!("{paid} >= {price}: {}, {paid} == {price}: {}", amount(paid) >= amount(price), amount(paid) == amount(price));
    }
    for (left, right) in [("10", "2"), ("10.00", "2.00"), ("10.00", "2"), ("3.0", "2.0"), ("1.00", "4")] {
        println!("{left} / {right} = {}, {left} * {right} = {}", (amount(left) / amount(right)).unwrap(), (amount(left) * amount(right)).unwrap());
    }
}
EOF
rust_program > seen <<'EOF'
b3_utils = { version = "=0.13.1", features = ["ledger"] }
candid = "=0.10.12"
EOF
expect_seen <<'EOF'
1.25 >= 1.5: true, 1.25 == 1.5: false
2 >= 1.5: false, 2 == 1.5: false
1.50 >= 1.5: true, 1.50 == 1.5: false
0.5 >= 0.25: false, 0.5 == 0.25: false
10 / 2 = 5, 10 * 2 = 20
10.00 / 2.00 = 0.05, 10.00 * 2.00 = 20
10.00 / 2 = 0.05, 10.00 * 2 = 20
3.0 / 2.0 = 0.1, 3.0 * 2.0 = 6
1.00 / 4 = 0, 1.00 * 4 = 4
EOF
