// The context of a message, which messages are accepted, and values of every kind of Candid type.
import {
  canisterSelf,
  canisterVersion,
  certifiedDataSet,
  dataCertificate,
  IDL,
  inReplicatedExecution,
  inspectMessage,
  isController,
  msgCaller,
  msgMethodName,
  performanceCounter,
  Principal,
  query,
  update,
} from 'azle';

const Tree = IDL.Rec();
Tree.fill(IDL.Variant({ leaf: IDL.Int, node: IDL.Vec(Tree) }));
const Everything = IDL.Record({
  nat: IDL.Nat,
  int: IDL.Int,
  nat64: IDL.Nat64,
  int8: IDL.Int8,
  float: IDL.Float64,
  text: IDL.Text,
  blob: IDL.Vec(IDL.Nat8),
  principal: IDL.Principal,
  option: IDL.Opt(IDL.Opt(IDL.Bool)),
  none: IDL.Null,
  tree: Tree,
  func: IDL.Func([IDL.Text], [IDL.Text], ['query']),
});

export default class {
  @inspectMessage
  inspect(): boolean {
    return msgMethodName() !== 'guarded' || isController(msgCaller());
  }

  @update([], IDL.Text)
  guarded(): string {
    return 'let in';
  }

  @query([Everything], Everything)
  echo(value: object): object {
    return value;
  }

  @query([], IDL.Tuple(IDL.Principal, IDL.Principal, IDL.Bool, IDL.Bool))
  queried(): [Principal, Principal, boolean, boolean] {
    return [msgCaller(), canisterSelf(), isController(msgCaller()), inReplicatedExecution()];
  }

  @update([], IDL.Tuple(IDL.Principal, IDL.Nat64, IDL.Bool))
  updated(): [Principal, bigint, boolean] {
    return [msgCaller(), canisterVersion(), inReplicatedExecution()];
  }

  @update([IDL.Nat32], IDL.Nat64)
  count(turns: number): bigint {
    const before = performanceCounter(0);
    for (let turn = 0; turn < turns; turn += 1);
    return performanceCounter(0) - before;
  }

  @update([IDL.Vec(IDL.Nat8)])
  certify(data: Uint8Array): void {
    certifiedDataSet(data);
  }

  @query([], IDL.Opt(IDL.Vec(IDL.Nat8)))
  certificate(): [Uint8Array] | [] {
    const certificate = dataCertificate();
    return certificate === undefined ? [] : [certificate];
  }
}
