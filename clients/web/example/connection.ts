// The page's connection: the identity that uploads, and the canister. The address of the page names the canister and
// the network: `?canister=<id>&network=<url>`, and for a private network `&rootKey=<hex>`.

import { HttpAgent } from '@icp-sdk/core/agent';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { uploadActor } from '../src/index.js';

const KEY = 'upload-example-identity';

/** An identity that is stored in this browser. A real page would let its users sign in. */
function identity(): Ed25519KeyIdentity {
  const kept = localStorage.getItem(KEY);
  if (kept !== null) {
    return Ed25519KeyIdentity.fromJSON(kept);
  }
  const created = Ed25519KeyIdentity.generate();
  localStorage.setItem(KEY, JSON.stringify(created.toJSON()));
  return created;
}

export async function connection(address: URLSearchParams) {
  const canisterId = address.get('canister');
  if (canisterId === null) {
    throw new Error('the address of this page must name a canister: ?canister=<id>');
  }
  const rootKey = address.get('rootKey');
  const agent = await HttpAgent.create({
    host: address.get('network') ?? 'https://icp-api.io',
    identity: identity(),
    ...(rootKey === null ? {} : { rootKey: bytesOf(rootKey) }),
  });
  return { agent, canisterId, capsule: await capsuleOf(agent, canisterId) };
}

type CapsulesPage = Awaited<ReturnType<ReturnType<typeof uploadActor>['capsules_list']>>;

/** The first capsule that the caller owns, or a new one. The list also has capsules that others share. */
async function capsuleOf(agent: HttpAgent, canisterId: string): Promise<string> {
  const canister = uploadActor(agent, canisterId);
  const caller = (await agent.getPrincipal()).toText();
  for (let after: [] | [string] = []; ; ) {
    const page: CapsulesPage = await canister.capsules_list(after, []);
    if ('Err' in page) {
      throw new Error(`no list of capsules: ${Object.keys(page.Err)[0]}`);
    }
    const own = page.Ok.find(({ owners }) => owners.some((owner) => owner.toText() === caller));
    if (own !== undefined) {
      return own.id;
    }
    const last = page.Ok.at(-1);
    if (last === undefined) {
      break;
    }
    after = [last.id];
  }
  const created = await canister.capsules_create([]);
  if ('Err' in created) {
    throw new Error(`no capsule was created: ${Object.keys(created.Err)[0]}`);
  }
  return created.Ok.id;
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}
