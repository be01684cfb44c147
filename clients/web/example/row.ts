// One upload on the page: its name, its progress, and a button that stops it.

import type { Progress, UploadFinishResult } from '../src/index.js';

const PHASES: Record<Progress['phase'], string> = {
  hashing: 'reading the file',
  uploading: 'uploading',
  verifying: 'the canister is checking it',
  repairing: 'looking for damaged parts',
  done: 'done',
};

export class Row {
  private readonly bar = document.createElement('progress');
  private readonly state = document.createElement('span');
  readonly stop = document.createElement('button');
  private readonly item = document.createElement('li');

  constructor(list: Element, file: File) {
    const name = document.createElement('strong');
    name.textContent = file.name;
    this.stop.textContent = 'Stop';
    this.state.className = 'state';
    this.item.dataset['name'] = file.name;
    this.item.append(name, this.stop, this.bar, this.state);
    list.append(this.item);
  }

  show({ phase, loaded, total, retry }: Progress): void {
    this.bar.max = Math.max(total, 1);
    this.bar.value = total === 0 ? 1 : loaded;
    const wait = retry ? `, retrying in ${Math.ceil(retry.inMs / 1000)} s` : '';
    this.state.textContent = `${PHASES[phase]}${wait}`;
  }

  finished({ memory_id, size }: UploadFinishResult): void {
    this.ended('done', `stored, ${size} bytes`);
    this.item.dataset['memory'] = memory_id;
  }

  failed(error: unknown): void {
    this.ended('failed', error instanceof Error ? error.message : String(error));
  }

  private ended(state: string, text: string): void {
    this.item.dataset['state'] = state;
    this.state.textContent = text;
    this.stop.remove();
  }
}
