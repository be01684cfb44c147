#!/usr/bin/env bash
# @zondax/ledger-live-icp 1.4.1 (npm), the library of a wallet for neurons
#
# Expected: the voting power of a neuron is its stake, with a bonus for the dissolve delay that is left and one for its
#   age, which is the time since aging_since_timestamp_seconds; while it dissolves it has no age, and once it is
#   dissolved it cannot vote (documentation of the Network Nervous System, Neurons). calculateVotingPower of the package
#   does that.
# Actual: neuronVotingPower, which computes the arguments of calculateVotingPower, uses the timestamp itself as the age
#   in seconds. This is more than four years, so every neuron has the bonus of the oldest ones from its first second,
#   even while it dissolves (its timestamp is then the largest number). The delay of a neuron that is dissolved is the
#   absolute difference to now: a year after its end it counts like one that has a year to go.
# Affected: wallets show 250 for a neuron that votes with 200, and voting power for a neuron that has none. Read
#   voting_power of get_neuron_info instead.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @zondax/ledger-live-icp@1.4.1
cat > probe.cjs <<'JS'
const { calculateVotingPower, neuronVotingPower } = require('@zondax/ledger-live-icp/neurons');
const now = Math.floor(Date.now() / 1000), year = 31557600, stakeE8s = 100n * 100000000n;
const show = (what, dissolve_state, aging_since, delay, age) => {
  const seen = neuronVotingPower({ neuron: {
    cached_neuron_stake_e8s: stakeE8s, staked_maturity_e8s_equivalent: [],
    dissolve_state: [dissolve_state], aging_since_timestamp_seconds: aging_since,
  } }).toNumber();
  const right = calculateVotingPower({ stakeE8s, dissolveDelay: BigInt(delay), ageSeconds: BigInt(age) });
  console.log(`100 ICP, ${what}: ${Math.round(seen)}, by its own formula ${Math.round(right)}`);
};
const locked = { DissolveDelaySeconds: BigInt(8 * year) };
show('locked for 8 years, 4 years old', locked, BigInt(now - 4 * year), 8 * year, 4 * year);
show('locked for 8 years, new', locked, BigInt(now), 8 * year, 0);
const ends = (years) => [{ WhenDissolvedTimestampSeconds: BigInt(now + years * year) }, 18446744073709551615n];
show('dissolving, 6 years to go', ...ends(6), 6 * year, 0);
show('dissolved 6 years ago', ...ends(-6), 0, 0);
JS
node probe.cjs > seen 2> errors || { cat errors; exit 2; }
expect_seen <<'EXPECTED'
100 ICP, locked for 8 years, 4 years old: 250, by its own formula 250
100 ICP, locked for 8 years, new: 250, by its own formula 200
100 ICP, dissolving, 6 years to go: 219, by its own formula 175
100 ICP, dissolved 6 years ago: 219, by its own formula 0
EXPECTED
