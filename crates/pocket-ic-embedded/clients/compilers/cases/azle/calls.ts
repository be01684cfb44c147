// Calls to another canister with the same code, and to the management canister.
import {
  call,
  canisterCycleBalance,
  canisterSelf,
  IDL,
  msgCaller,
  msgCyclesAccept,
  msgCyclesAvailable,
  msgCyclesRefunded,
  msgReject,
  msgRejectCode,
  Principal,
  query,
  trap,
  update,
} from 'azle';

const Outcome = IDL.Tuple(IDL.Text, IDL.Nat32, IDL.Text);

export default class {
  told: string[] = [];
  cleaned = 0;

  @query([IDL.Text], IDL.Text)
  echo(text: string): string {
    return text;
  }

  @update([], IDL.Principal)
  caller(): Principal {
    return msgCaller();
  }

  @update([IDL.Text])
  tell(text: string): void {
    this.told.push(text);
  }

  @query([], IDL.Tuple(IDL.Vec(IDL.Text), IDL.Nat32))
  record(): [string[], number] {
    return [this.told, this.cleaned];
  }

  @update([IDL.Nat], IDL.Tuple(IDL.Nat, IDL.Nat))
  acceptAtMost(limit: bigint): [bigint, bigint] {
    return [msgCyclesAvailable(), msgCyclesAccept(limit)];
  }

  @update([], IDL.Empty, { manual: true })
  reject(): void {
    msgReject('not today');
  }

  @update([])
  trapped(): void {
    trap('out of luck');
  }

  @update([IDL.Principal], IDL.Principal)
  async whoCalls(other: Principal): Promise<Principal> {
    return await call(other, 'caller', { returnIdlType: IDL.Principal });
  }

  @update([IDL.Principal, IDL.Vec(IDL.Text)], IDL.Vec(IDL.Text))
  async together(other: Principal, texts: string[]): Promise<string[]> {
    const ask = (text: string) =>
      call<[string], string>(other, 'echo', { paramIdlTypes: [IDL.Text], returnIdlType: IDL.Text, args: [text] });
    return await Promise.all(texts.map(ask));
  }

  @query([IDL.Principal, IDL.Text], IDL.Text, { composite: true })
  async through(other: Principal, text: string): Promise<string> {
    return await call(other, 'echo', { paramIdlTypes: [IDL.Text], returnIdlType: IDL.Text, args: [text] });
  }

  @update([IDL.Principal, IDL.Text])
  oneWay(other: Principal, text: string): void {
    call(other, 'tell', { paramIdlTypes: [IDL.Text], args: [text], oneway: true });
  }

  // Returns the cycles that the other canister saw and accepted, and the refund.
  @update([IDL.Principal, IDL.Nat, IDL.Nat], IDL.Tuple(IDL.Nat, IDL.Nat, IDL.Nat))
  async pay(other: Principal, cycles: bigint, limit: bigint): Promise<[bigint, bigint, bigint]> {
    const [available, accepted] = await call<[bigint], [bigint, bigint]>(other, 'acceptAtMost', {
      paramIdlTypes: [IDL.Nat],
      returnIdlType: IDL.Tuple(IDL.Nat, IDL.Nat),
      args: [limit],
      cycles,
    });
    return [available, accepted, msgCyclesRefunded()];
  }

  @update([IDL.Principal, IDL.Text], Outcome)
  async fails(other: Principal, method: string): Promise<[string, number, string]> {
    try {
      await call(other, method);
      return ['', 0, ''];
    } catch (error: any) {
      return [error.type, msgRejectCode(), error.rejectMessage ?? ''];
    }
  }

  @update([IDL.Principal])
  async payTooMuch(other: Principal): Promise<void> {
    await call(other, 'caller', { cycles: 1_000n * canisterCycleBalance() });
  }

  // Traps after the answer; the awaiting code then gets the chance to clean up, and must not reply.
  @update([IDL.Principal, IDL.Bool])
  async cleansUp(other: Principal, replies: boolean): Promise<void> {
    try {
      await call(other, 'caller', { returnIdlType: IDL.Principal });
      this.told.push('rolled back');
      trap('after the answer');
    } catch (error: any) {
      if (error.type === 'CleanupCallback') this.cleaned += 1;
      if (!replies) throw error;
    }
  }

  @update([], IDL.Nat32)
  async randomLength(): Promise<number> {
    const bytes = await call<undefined, Uint8Array>('aaaaa-aa', 'raw_rand', { returnIdlType: IDL.Vec(IDL.Nat8) });
    return new Set(bytes).size > 1 ? bytes.length : 0;
  }

  @update([], IDL.Text)
  async running(): Promise<string> {
    const Status = IDL.Record({
      status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
    });
    const status = await call<[object], { status: object }>('aaaaa-aa', 'canister_status', {
      paramIdlTypes: [IDL.Record({ canister_id: IDL.Principal })],
      returnIdlType: Status,
      args: [{ canister_id: canisterSelf() }],
    });
    return Object.keys(status.status)[0];
  }
}
