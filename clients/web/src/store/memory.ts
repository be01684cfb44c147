// A store that does not survive a reload: for tests, and for environments without IndexedDB.

import type { UploadRecord, UploadStore } from './store.js';

export function memoryStore(): UploadStore {
  const records = new Map<string, UploadRecord>();
  const put = async (record: UploadRecord) => void records.set(record.key, structuredClone(record));
  return {
    put,
    claim: async (record) => {
      const known = records.get(record.key);
      if (known === undefined) await put(record);
      return structuredClone(known ?? record);
    },
    delete: async (key) => void records.delete(key),
    list: async (scope) => structuredClone([...records.values()].filter((record) => record.scope === scope)),
  };
}
