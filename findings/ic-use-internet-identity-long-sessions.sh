#!/usr/bin/env bash
# ic-use-internet-identity 0.7.0 (npm) with @icp-sdk/auth 5.0.0
#
# Expected: maxTimeToLive is the expiration of the authentication in nanoseconds (README); Internet Identity grants up
#   to 30 days. clearIdentityOnExpiry clears the identity when it expires.
# Actual: the identity is cleared by one setTimeout, whose delay is limited to 2^31 - 1 ms, which is 24.8 days; with a
#   longer one it fires at once (HTML standard, Timers; Node.js documentation, setTimeout). People who log in for 25
#   to 30 days are logged out immediately, and the stored delegation is deleted, so that a reload does not help
#   either.
# Affected: pages with sessions of a month: every login ends at once, also in the middle of an upload. Set
#   maxTimeToLive to at most 24 days, or clearIdentityOnExpiry to false.
. "$(dirname "$0")/lib/common.sh"

npm_packages ic-use-internet-identity@0.7.0 @icp-sdk/auth@5.0.0 @icp-sdk/core@5.4.0 react@18.3.1 react-dom@18.3.1 jsdom@24.1.3
cat > probe.mjs <<'EOF'
import { JSDOM } from 'jsdom';
import { DelegationChain, Ed25519KeyIdentity } from '@icp-sdk/core/identity';

const { window } = new JSDOM('<div id="root"></div>', { url: 'https://page.example/' });
Object.assign(globalThis, { window, document: window.document, navigator: window.navigator, localStorage: window.localStorage });
process.env.DFX_NETWORK = 'local'; // Without it, the time of the network is asked for.
const { createElement } = await import('react'), { createRoot } = await import('react-dom/client');
const { InternetIdentityProvider, ensureInitialized, useInternetIdentity } = await import('ic-use-internet-identity');

const days = Number(process.argv[2]);
// What a login stores: the key of the page, and a delegation to it by Internet Identity.
const wallet = Ed25519KeyIdentity.generate(), page = Ed25519KeyIdentity.generate();
const chain = await DelegationChain.create(wallet, page.getPublicKey(), new Date(Date.now() + days * 86_400_000));
const stored = new Map([['identity', JSON.stringify(page.toJSON())], ['delegation', JSON.stringify(chain.toJSON())]]);
const storage = { get: async (key) => stored.get(key) ?? null, set: async (key, value) => void stored.set(key, value), remove: async (key) => void stored.delete(key) };
const options = { storage, keyType: 'Ed25519' };

let shown;
const Page = () => { shown = useInternetIdentity(); return null; };
createRoot(document.getElementById('root')).render(createElement(InternetIdentityProvider, { createOptions: options }, createElement(Page)));
const restored = await ensureInitialized();
const state = (identity) => identity === undefined ? 'logged out' : 'logged in';
process.stdout.write(`session of ${days} days: ${state(restored)}`);
await new Promise((resolve) => setTimeout(resolve, 500));
console.log(`, half a second later ${state(shown.identity)}, delegation ${stored.has('delegation') ? 'stored' : 'deleted'}`);
process.exit();
EOF
for days in 1 24 25 30; do node --no-warnings probe.mjs "$days"; done > seen
expect_seen <<'EOF'
session of 1 days: logged in, half a second later logged in, delegation stored
session of 24 days: logged in, half a second later logged in, delegation stored
session of 25 days: logged in, half a second later logged out, delegation deleted
session of 30 days: logged in, half a second later logged out, delegation deleted
EOF
