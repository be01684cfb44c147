// The operator of the canister: installs and upgrades it, and waits for its migrations.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HttpAgent } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Principal } from '@icp-sdk/core/principal';
import { accepted, uploadActor } from '../../src/canister.js';
import type { LiveNetwork } from './live-network.js';

export type Build = 'legacy' | 'staged' | 'direct';

const Created = IDL.Record({ canister_id: IDL.Principal });
const Create = IDL.Record({});
const Install = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null, upgrade: IDL.Opt(IDL.Record({})) }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});
const Target = IDL.Record({ canister_id: IDL.Principal });
const management = Principal.managementCanister();
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

export function agentOf(network: LiveNetwork, identity: Ed25519KeyIdentity): Promise<HttpAgent> {
  return HttpAgent.create({ host: network.url, rootKey: bytesOf(network.rootKey), identity });
}

export class Operator {
  private constructor(
    readonly agent: HttpAgent,
    readonly canisterId: Principal,
    private readonly modules: string,
  ) {}

  /** Creates a canister and installs the legacy build. `modules` is the folder with the modules of the three builds. */
  static async install(network: LiveNetwork, modules: string): Promise<Operator> {
    const agent = await agentOf(network, Ed25519KeyIdentity.generate());
    const { reply } = await agent.update(management, {
      methodName: 'provisional_create_canister_with_cycles',
      arg: IDL.encode([Create], [{}]),
      effectiveCanisterId: Principal.fromText(network.firstCanister),
    });
    const [created] = IDL.decode([Created], reply) as unknown as [{ canister_id: Principal }];
    const operator = new Operator(agent, created.canister_id, modules);
    await operator.installCode('legacy', { install: null });
    return operator;
  }

  get canister() {
    return uploadActor(this.agent, this.canisterId);
  }

  /** Upgrades the running canister; it is not stopped. */
  async upgrade(build: Build): Promise<void> {
    await this.upgradeCode(build);
    await this.expectBuild(build);
  }

  async rollBack(): Promise<void> {
    accepted('migration_rollback', await this.canister.migration_rollback());
    await this.waitFor('RolledBack');
  }

  /** Waits until the migration is in this phase; throws if it is stuck. */
  async waitFor(phase: 'Converted' | 'RolledBack' | 'Finalized'): Promise<void> {
    for (;;) {
      const status = accepted('migration_status', await this.canister.migration_status());
      if (phase in status.phase) return;
      if ('Stuck' in status.phase) throw new Error(`the migration is stuck: ${status.note}`);
      // The network executes rounds as time passes.
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  /** Upgrades the stopped canister, as icp does: calls of clients are rejected until it is started again. */
  async upgradeStopped(build: Build, whileStopped: () => Promise<void>): Promise<void> {
    await this.manage('stop_canister', Target, {});
    await whileStopped();
    await this.upgradeCode(build);
    await this.manage('start_canister', Target, {});
    await this.expectBuild(build);
  }

  private upgradeCode(build: Build): Promise<void> {
    return this.installCode(build, { upgrade: [] });
  }

  private async expectBuild(build: Build): Promise<void> {
    const { build: runs } = await this.canister.build_info();
    if (runs !== build) throw new Error(`the ${runs} build runs, not the ${build} one`);
  }

  private installCode(build: Build, mode: object): Promise<void> {
    const module = new Uint8Array(readFileSync(join(this.modules, `${build}.wasm.gz`)));
    return this.manage('install_code', Install, { mode, wasm_module: module, arg: new Uint8Array() });
  }

  private async manage(methodName: string, type: IDL.Type, argument: object): Promise<void> {
    const canister_id = this.canisterId;
    const arg = IDL.encode([type], [{ ...argument, canister_id }]);
    await this.agent.update(management, { methodName, arg, effectiveCanisterId: canister_id });
  }
}
