// A page, and a form whose inputs the canister collects.
import { IDL, query, update } from 'azle';

const Header = IDL.Tuple(IDL.Text, IDL.Text);
const Request = IDL.Record({
  method: IDL.Text,
  url: IDL.Text,
  headers: IDL.Vec(Header),
  body: IDL.Vec(IDL.Nat8),
});
const Response = IDL.Record({
  status_code: IDL.Nat16,
  headers: IDL.Vec(Header),
  body: IDL.Vec(IDL.Nat8),
  upgrade: IDL.Opt(IDL.Bool),
});

interface Asked {
  method: string;
  url: string;
  body: Uint8Array;
}

export default class {
  received = '';

  @query([Request], Response)
  http_request({ method, url }: Asked): object {
    return method === 'GET' ? answer(200, `${url}: ${this.received}`) : { ...answer(200, ''), upgrade: [true] };
  }

  @update([Request], Response)
  http_request_update({ body }: Asked): object {
    this.received += String.fromCharCode(...body);
    return answer(201, this.received);
  }
}

function answer(status_code: number, text: string): object {
  const body = Uint8Array.from(text, character => character.charCodeAt(0));
  return { status_code, headers: [['content-type', 'text/plain']], body, upgrade: [] };
}
