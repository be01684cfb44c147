// State in JavaScript objects and in stable memory.
import { IDL, init, postUpgrade, preUpgrade, query, StableBTreeMap, update } from 'azle';

const TAKEN_ALONG = 'taken along';

export default class {
  greeting = 'nobody has greeted';
  visits = 0;
  notes = new StableBTreeMap<string, string>(0);
  numbers = new StableBTreeMap<string, number>(1);

  @init([IDL.Text])
  begin(greeting: string): void {
    this.greeting = greeting;
  }

  @preUpgrade
  save(): void {
    this.numbers.insert(TAKEN_ALONG, this.visits);
  }

  @postUpgrade([IDL.Text])
  restore(greeting: string): void {
    this.greeting = greeting;
    this.visits = this.numbers.get(TAKEN_ALONG) ?? 0;
  }

  @update([], IDL.Nat32)
  visit(): number {
    this.visits += 1;
    return this.visits;
  }

  @query([], IDL.Nat32)
  tryVisit(): number {
    return this.visit();
  }

  @query([], IDL.Tuple(IDL.Text, IDL.Nat32))
  state(): [string, number] {
    return [this.greeting, this.visits];
  }

  @update([IDL.Text, IDL.Text], IDL.Opt(IDL.Text))
  note(key: string, text: string): [string] | [] {
    const before = this.notes.insert(key, text);
    return before === undefined ? [] : [before];
  }

  @update([IDL.Text, IDL.Text])
  noteAndThrow(key: string, text: string): void {
    this.visits += 1;
    this.notes.insert(key, text);
    throw new Error('not so');
  }

  @update([IDL.Text, IDL.Nat32])
  noteLength(key: string, length: number): void {
    this.notes.insert(key, 'x'.repeat(length));
  }

  @query([IDL.Text], IDL.Opt(IDL.Nat32))
  lengthOf(key: string): [number] | [] {
    const text = this.notes.get(key);
    return text === undefined ? [] : [text.length];
  }

  @query([], IDL.Vec(IDL.Tuple(IDL.Text, IDL.Text)))
  all(): [string, string][] {
    return this.notes.items();
  }

  @update([IDL.Text], IDL.Bool)
  forget(key: string): boolean {
    return this.notes.remove(key) !== undefined;
  }

  @update([])
  loop(): void {
    for (;;) {
      this.visits += 1;
    }
  }
}
