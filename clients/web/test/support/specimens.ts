// Sample values of Candid types, and checks that a client with another type reads them correctly.

import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';

/**
 * The sample values of a type, one for each number. The number determines the case of each variant, whether options are
 * present, and how long lists are.
 */
class Specimens extends IDL.Visitor<number, unknown> {
  override visitNull = () => null;
  override visitBool = (_type: IDL.BoolClass, n: number) => n % 2 === 1;
  override visitText = (_type: IDL.TextClass, n: number) => (n === 0 ? '' : `text ${n}`);
  override visitNat = (_type: IDL.NatClass, n: number) => BigInt(n);
  override visitInt = (_type: IDL.IntClass, n: number) => BigInt(-n);
  override visitFloat = (_type: IDL.FloatClass, n: number) => n / 2;
  override visitFixedNat = (type: IDL.FixedNatClass, n: number) => (type._bits > 32 ? BigInt(n) : n);
  override visitFixedInt = (type: IDL.FixedIntClass, n: number) => (type._bits > 32 ? BigInt(-n) : -n);
  override visitPrincipal = (_type: IDL.PrincipalClass, n: number) => Principal.fromUint8Array(Uint8Array.of(n, 1));

  override visitFunc = (_type: IDL.FuncClass, n: number) => [Principal.fromUint8Array(Uint8Array.of(n, 1)), `method_${n}`];
  override visitReserved = () => null;

  override visitVec<T>(_type: IDL.VecClass<T>, element: IDL.Type<T>, n: number): unknown {
    const values = Array.from({ length: n % 3 }, (_, index) => element.accept(this, n + index));
    return element instanceof IDL.FixedNatClass && element._bits === 8 ? Uint8Array.from(values as number[]) : values;
  }

  override visitOpt<T>(_type: IDL.OptClass<T>, content: IDL.Type<T>, n: number): unknown {
    return n % 2 === 0 ? [] : [content.accept(this, n)];
  }

  override visitRecord(_type: IDL.RecordClass, fields: Array<[string, IDL.Type]>, n: number): unknown {
    return Object.fromEntries(fields.map(([name, type], index) => [name, type.accept(this, n + 2 * index)]));
  }

  override visitTuple<T extends unknown[]>(_type: IDL.TupleClass<T>, components: IDL.Type[], n: number): unknown {
    return components.map((type) => type.accept(this, n));
  }

  override visitVariant(_type: IDL.VariantClass, cases: Array<[string, IDL.Type]>, n: number): unknown {
    const [name, type] = cases[n % cases.length]!;
    return { [name]: type.accept(this, Math.floor(n / cases.length)) };
  }

  override visitRec<T>(_type: IDL.RecClass<T>, content: IDL.ConstructType<T>, n: number): unknown {
    return content.accept(this, Math.floor(n / 2));
  }
}

const specimens = new Specimens();

/** Sample value number `n` of a type. */
export function specimen(type: IDL.Type, n: number): unknown {
  return type.accept(specimens, n);
}

/** Describes the parts of a value that were lost on reading, although the reader's type could represent them. */
export function losses(sent: unknown, read: unknown, at = ''): string[] {
  if (Array.isArray(sent) && Array.isArray(read)) {
    const lost = sent.length === read.length ? [] : [`${at}: ${sent.length} sent, ${read.length} read`];
    return lost.concat(...read.map((value, index) => losses(sent[index], value, `${at}[${index}]`)));
  }
  if (isPlain(sent) && isPlain(read)) {
    const common = Object.entries(read).filter(([name]) => name in sent);
    return common.flatMap(([name, value]) => losses(sent[name], value, `${at}.${name}`));
  }
  return text(sent) === text(read) ? [] : [`${at}: ${text(sent)} sent, ${text(read)} read`];
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function text(value: unknown): string {
  return value instanceof Principal ? value.toText() : value instanceof Uint8Array ? value.join() : String(value);
}

/** Enough sample values for each case of every variant, and for each option both present and absent. */
const SPECIMENS = 60;

/** The problems on reading values of the types `written` as the types `read`. */
export function problems(written: IDL.Type[], read: IDL.Type[]): string[] {
  return Array.from({ length: SPECIMENS }, (_, n) => n).flatMap((n) => {
    const sent = written.map((type) => specimen(type, n));
    try {
      return losses(sent, IDL.decode(read, IDL.encode(written, sent)));
    } catch (error) {
      return [String(error)];
    }
  });
}
