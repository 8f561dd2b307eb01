// Validates goldens with Ajv, which shares nothing with the validator of the Go tests.   ajv.mjs SCHEMA-DIR GOLDEN-DIR
import {readdirSync, readFileSync} from 'node:fs';
import {gunzipSync} from 'node:zlib';
import Ajv from 'ajv/dist/2020.js';

const [schemas, goldens] = process.argv.slice(2);
const ajv = new Ajv({allErrors: true, strict: true, strictRequired: false, strictTypes: false});
const id = {};
for (const f of readdirSync(schemas).filter(f => f.endsWith('.schema.json'))) { // Go lies beside them
  const s = JSON.parse(readFileSync(`${schemas}/${f}`));
  ajv.addSchema(s);
  id[f.split('.')[0]] = s.$id;
}
const out = {};
for (const f of readdirSync(goldens)) {
  const check = ajv.getSchema(id[f.split(/[-.]/)[0]]);
  const bytes = readFileSync(`${goldens}/${f}`);
  out[f] = check(JSON.parse(f.endsWith('.gz') ? gunzipSync(bytes) : bytes)) ? '' : ajv.errorsText(check.errors);
}
console.log(JSON.stringify(out));
