// A wallet with the Signer of @dfinity/oisy-wallet-signer, asked by a page to call a ledger that has no consent messages of its own.
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { idlFactory } from './node_modules/@icp-sdk/canisters/declarations/ledger-icrc/icrc_ledger.idl.js';
import { fetchOf } from './network.mjs';

export const ledger = new Map(idlFactory({ IDL })._fields);
const origin = 'https://page.example', canisterId = 'mxzaz-hqaaa-aaaar-qaada-cai', kept = new Map();
let listener, said, decimals;
globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
globalThis.window = globalThis;
globalThis.addEventListener = (_, listen) => { listener = listen; };
globalThis.opener = { postMessage: (message) => said(message) };
globalThis.fetch = fetchOf(({ method_name }) => {
  if (method_name !== 'icrc1_metadata') throw new Error(`the ledger has no method ${method_name}`);
  const metadata = { 'icrc1:symbol': { Text: 'TOK' }, 'icrc1:name': { Text: 'Token' }, 'icrc1:decimals': { Nat: BigInt(decimals) }, 'icrc1:fee': { Nat: 0n } };
  return IDL.encode(ledger.get(method_name).retTypes, [Object.entries(metadata)]);
});

const { Signer } = await import('@dfinity/oisy-wallet-signer/signer');
const owner = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(1));
const signer = Signer.init({ owner, host: 'http://localhost:4943' });
let consent;
signer.register({ method: 'icrc25_request_permissions', prompt: ({ requestedScopes, confirm }) => confirm(requestedScopes.map((scope) => ({ ...scope, state: 'granted' }))) });
signer.register({ method: 'icrc21_call_consent_message', prompt: ({ status, consentInfo, reject, details }) => {
  if (status === 'error') throw details;
  if (status !== 'result') return;
  consent = consentInfo.Warn.consentInfo.consent_message.GenericDisplayMessage;
  reject();
} });

/** Sends the wallet a request of the page, and waits for the answer. */
const ask = (method, params) => new Promise((resolve) => {
  said = resolve;
  listener({ origin, data: { jsonrpc: '2.0', id: '1', method, ...(params && { params }) } });
});
await ask('icrc29_status');

/** What the wallet shows its user of a section of the message, before the user agrees to a call. */
export const shown = async (method, arg, places, section) => {
  decimals = places;
  consent = undefined;
  await ask('icrc49_call_canister', {
    canisterId, sender: owner.getPrincipal().toText(), method, arg: Buffer.from(IDL.encode(ledger.get(method).argTypes, [arg])).toString('base64'),
  });
  // The signer answers before it is ready for the next request.
  await new Promise(setImmediate);
  return consent.match(new RegExp(`\\*\\*${section}:\\*\\*\\n(.*)`))[1];
};
