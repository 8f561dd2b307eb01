// Parses and validates an AsyncAPI document with the public parser. Prints what it found wrong, then every channel as JSON.
import {Parser, fromFile} from '@asyncapi/parser';

const {document, diagnostics} = await fromFile(new Parser(), process.argv[2]).parse();
const said = diagnostics.map(d => ({severity: d.severity, code: d.code, path: d.path.join('.'), message: d.message}));
const channels = document?.channels().all().map(c => ({
  id: c.id(),
  address: c.address(),
  operations: c.operations().all().map(o => ({action: o.action(), ...o.bindings().get('mqtt')?.value()})),
  keys: c.messages().all().flatMap(m => Object.keys(m.payload()?.json()?.properties ?? {})),
}));
console.log(JSON.stringify({said, channels}));
