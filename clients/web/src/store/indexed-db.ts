// The store in a browser, which the browser's tabs share: if two tabs upload the same file, it is one upload.

import type { UploadRecord, UploadStore } from './store.js';

const RECORDS = 'uploads';
const BY_SCOPE = 'scope';

export function indexedDbStore(name = 'upload-client'): UploadStore {
  let opened: Promise<IDBDatabase> | undefined;

  const database = () => {
    // After a failure, or once the connection is closed, the next call opens the database again.
    const forget = () => (opened = undefined);
    opened ??= open(name, forget);
    opened.catch(forget);
    return opened;
  };

  const act = async <T>(mode: IDBTransactionMode, ask: (records: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const transaction = (await database()).transaction(RECORDS, mode);
    const request = ask(transaction.objectStore(RECORDS));
    return new Promise((resolve, reject) => {
      // Data is stored when the transaction is complete, not when the request is.
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  };

  // The record is read and written in one transaction, so that no other tab can interfere.
  const claim = (record: UploadRecord, records: IDBObjectStore) => {
    const known: IDBRequest<UploadRecord | undefined> = records.get(record.key);
    known.onsuccess = () => known.result ?? records.put(record);
    return known;
  };

  return {
    claim: async (record) => (await act('readwrite', (records) => claim(record, records))) ?? record,
    put: async (record) => void (await act('readwrite', (records) => records.put(record))),
    delete: (key) => act('readwrite', (records) => records.delete(key)),
    list: (scope) => act<UploadRecord[]>('readonly', (records) => records.index(BY_SCOPE).getAll(scope)),
  };
}

function open(name: string, onClosed: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      const records = request.result.createObjectStore(RECORDS, { keyPath: 'key' });
      records.createIndex(BY_SCOPE, 'scope');
    };
    request.onsuccess = () => {
      const database = request.result;
      // The browser closes the connection if the user clears the site's data, or the disk fails.
      database.onclose = onClosed;
      // The page or another tab deletes the database, which would wait for as long as this connection is open.
      database.onversionchange = () => {
        database.close();
        onClosed();
      };
      resolve(database);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error(`another tab holds an older version of the database ${name} open`));
  });
}
