// A network between a client and the fake canister: messages are Candid, and may get lost, arrive late, or be rejected.

import {
  HttpErrorCode,
  HttpFetchErrorCode,
  ProtocolError,
  RejectError,
  type RequestId,
  TransportError,
  UncertifiedRejectUpdateErrorCode,
} from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import type { UploadCanister } from '../../src/canister.js';
import { idlFactory as legacy } from '../declarations/legacy.did.js';
import type { FakeCanister } from './fake-canister.js';

export type Fault =
  /** The message never arrives. */
  | 'lose-request'
  /** The message is executed, but its reply is lost. */
  | 'lose-reply'
  /** The client gets a broken connection; the message is executed when `deliverLate` is called. */
  | 'late'
  /** There is never an answer, but the connection stays open. */
  | 'silence'
  | { reject: number; errorCode: string }
  | { status: number };

export interface Call {
  method: string;
  /** Number of earlier calls. */
  number: number;
}

type Method = keyof UploadCanister;

export class Network {
  /** Returns the fault that affects a call, if any. */
  fault: (call: Call) => Fault | undefined = () => undefined;
  /** Called before a message is executed. */
  before: (call: Call) => void | Promise<void> = () => undefined;
  readonly calls: string[] = [];
  /** By function, the maximum number of its calls that were in flight at once. */
  readonly mostInFlight = new Map<string, number>();
  /** Called when a call will never be answered. */
  silent: () => void = () => undefined;
  private readonly inFlight = new Map<string, number>();
  private late: Array<() => Promise<unknown>> = [];

  /** `served`: the interface of the build that runs. */
  constructor(
    public canister: FakeCanister,
    public served: IDL.InterfaceFactory = legacy,
  ) {}

  /** An actor with this interface. */
  actor(known: IDL.InterfaceFactory = legacy): UploadCanister {
    const methods = functionsOf(known).map(([name, type]) => {
      const call = (...args: unknown[]) => this.call(name as Method, type, args);
      return [name, call];
    });
    return Object.fromEntries(methods) as UploadCanister;
  }

  /** Resolves when no call is in flight. */
  async idle(): Promise<void> {
    while ([...this.inFlight.values()].some((count) => count > 0)) {
      await turn();
    }
  }

  /** Executes the delayed messages. */
  async deliverLate(): Promise<void> {
    for (const execute of this.late.splice(0)) {
      await execute();
    }
  }

  private async call(method: Method, type: IDL.FuncClass, args: unknown[]): Promise<unknown> {
    const call = { method, number: this.calls.length };
    this.calls.push(method);
    const inFlight = (this.inFlight.get(method) ?? 0) + 1;
    this.inFlight.set(method, inFlight);
    this.mostInFlight.set(method, Math.max(this.mostInFlight.get(method) ?? 0, inFlight));
    try {
      const message = IDL.encode(type.argTypes, args);
      await turn();
      const fault = this.fault(call);
      const execute = () => this.execute(call, message);
      if (fault === undefined) return decoded(type.retTypes, await execute());
      if (fault === 'lose-reply') await execute();
      if (fault === 'late') this.late.push(execute);
      if (fault === 'silence') {
        setImmediate(this.silent);
        await new Promise(() => undefined);
      }
      throw failure(fault);
    } finally {
      this.inFlight.set(method, (this.inFlight.get(method) ?? 1) - 1);
    }
  }

  private async execute(call: Call, message: Uint8Array): Promise<Uint8Array> {
    await this.before(call);
    const type = functionsOf(this.served).find(([name]) => name === call.method)?.[1];
    if (!type) throw failure({ reject: 5, errorCode: 'IC0536' });
    const args = IDL.decode(type.argTypes, copy(message));
    const method = this.canister[call.method as Method] as (...args: unknown[]) => Promise<unknown>;
    return IDL.encode(type.retTypes, [await method(...args)]);
  }
}

export function functionsOf(factory: IDL.InterfaceFactory): Array<[string, IDL.FuncClass]> {
  return (factory({ IDL }) as IDL.ServiceClass)._fields;
}

/** Lets other calls run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

// The decoder would read an array that is part of a larger buffer from the wrong offset.
function copy(message: Uint8Array): Uint8Array {
  return new Uint8Array(message);
}

function decoded(types: IDL.Type[], reply: Uint8Array): unknown {
  return IDL.decode(types, copy(reply))[0];
}

function failure(fault: Fault): Error {
  const id = new Uint8Array(32) as RequestId;
  if (typeof fault === 'string') {
    return TransportError.fromCode(new HttpFetchErrorCode(new TypeError('fetch failed')));
  }
  if ('status' in fault) {
    return ProtocolError.fromCode(new HttpErrorCode(fault.status, 'status', []));
  }
  return RejectError.fromCode(new UncertifiedRejectUpdateErrorCode(id, fault.reject, 'rejected', fault.errorCode));
}
