// The page. It uploads the files that are chosen. After a reload, the upload of a file continues once the file is
// chosen again.

import { Uploader } from '../src/index.js';
import { connection } from './connection.js';
import { Row } from './row.js';

const element = <T extends Element>(selector: string): T => {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
};

const status = element('#status');
const files = element<HTMLInputElement>('#files');
const list = element('#uploads');

async function start(): Promise<void> {
  const { agent, canisterId, capsule } = await connection(new URLSearchParams(location.search));
  const uploader = await Uploader.connect(agent, canisterId);
  await showUnfinished(uploader);

  const upload = async (file: File) => {
    const row = new Row(list, file);
    const stop = new AbortController();
    row.stop.onclick = () => stop.abort(new Error('stopped; choose the file again to continue'));
    try {
      const onProgress = row.show.bind(row);
      row.finished(await uploader.upload(file, { capsule, signal: stop.signal, onProgress }));
    } catch (error) {
      row.failed(error);
    }
    await showUnfinished(uploader);
  };

  files.onchange = () => {
    for (const file of files.files ?? []) {
      void upload(file);
    }
  };
  files.disabled = false;
  status.textContent = `Ready: ${(await agent.getPrincipal()).toText()}`;
}

async function showUnfinished(uploader: Uploader): Promise<void> {
  const names = (await uploader.unfinished()).map(({ name }) => name);
  element('#unfinished').textContent =
    names.length === 0 ? '' : `Not finished: ${names.join(', ')}. Choose them again to continue.`;
}

start().catch((error: unknown) => {
  status.textContent = `No connection: ${error instanceof Error ? error.message : String(error)}`;
});
