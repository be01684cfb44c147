// Reads the bytes of a memory, as a client with read access.

import { accepted } from '../../src/canister.js';
import type { _SERVICE } from '../../src/declarations/legacy.did.js';

export async function readBack(canister: _SERVICE, memoryId: string): Promise<Buffer> {
  const memory = accepted('memories_read', await canister.memories_read(memoryId));
  const { locator } = memory.blob;
  const { chunk_count } = accepted('blob_get_meta', await canister.blob_get_meta(locator));
  const chunks: Uint8Array[] = [];
  for (let index = 0; index < chunk_count; index += 1) {
    chunks.push(accepted('blob_read_chunk', await canister.blob_read_chunk(locator, index)));
  }
  return Buffer.concat(chunks);
}
