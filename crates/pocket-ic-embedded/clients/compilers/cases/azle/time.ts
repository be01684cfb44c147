// Code that runs without a call: heartbeats and timers.
import { clearTimer, heartbeat, IDL, query, setTimer, setTimerInterval, time, trap, update } from 'azle';

export default class {
  beats = 0;
  rings: string[] = [];
  interval = 0n;

  @heartbeat
  beat(): void {
    this.beats += 1;
  }

  @query([], IDL.Tuple(IDL.Nat32, IDL.Vec(IDL.Text)))
  rung(): [number, string[]] {
    return [this.beats, this.rings];
  }

  @query([], IDL.Nat64)
  now(): bigint {
    return time();
  }

  @update([IDL.Nat32, IDL.Text])
  after(seconds: number, name: string): void {
    setTimer(seconds, () => {
      this.rings.push(name);
    });
  }

  // The timer is rolled back with the message. (Cancelling a timer of `setTimer` before it is due always traps in
  // azle.)
  @update([IDL.Nat32, IDL.Text])
  setAndTrap(seconds: number, name: string): void {
    this.after(seconds, name);
    trap('it was set');
  }

  @update([IDL.Nat32])
  trapAfter(seconds: number): void {
    setTimer(seconds, () => {
      this.rings.push('rolled back');
      throw new Error('this timer fails');
    });
  }

  @update([IDL.Nat32, IDL.Text])
  every(seconds: number, name: string): void {
    this.interval = setTimerInterval(seconds, () => {
      this.rings.push(name);
    });
  }

  @update([])
  stop(): void {
    clearTimer(this.interval);
  }
}
