// Verifies responses of the canister that serves this page, with DFINITY's library for response verification.

import init, { ResponseVerificationErrorCode, verifyRequestResponsePair } from './web.js';

const MAX_AGE_NS = 300_000_000_000n;
const bytesOf = hex => Uint8Array.from(hex.match(/../g) ?? [], pair => parseInt(pair, 16));

/**
 * Requests `path` and verifies the response. `flip`: one bit of the body is changed in transit; `later`: seconds by
 * which the clock is ahead. Returns the version of the certification and the SHA-256 of the body.
 */
window.verified = async ({ path, canister, rootKey, flip = false, later = 0 }) => {
  await init('./web_bg.wasm');
  const response = await fetch(path);
  const body = new Uint8Array(await response.arrayBuffer());
  if (flip) body[0] ^= 1;
  let info;
  try {
    info = verifyRequestResponsePair(
      { url: path, method: 'GET', headers: [], body: new Uint8Array(), certificate_version: [2] },
      { status_code: response.status, headers: [...response.headers], body },
      bytesOf(canister),
      BigInt(Date.now() + later * 1000) * 1_000_000n,
      MAX_AGE_NS,
      bytesOf(rootKey),
      2,
    );
  } catch (error) {
    throw new Error(ResponseVerificationErrorCode[error.code] ?? String(error));
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
  return { version: info.verificationVersion, sha256: [...digest].map(byte => byte.toString(16).padStart(2, '0')).join('') };
};
