// Live view: which nodes are there, what is wrong, and every value as it comes, with its unit.   node live.mjs mqtt://HOST:PORT
//
// Needs mqtt.js (npm install mqtt). It reads only what is live: tele, never hist. What comes twice shows the same value twice,
// which a view may; an archive may not (see archive.py).
import mqtt from 'mqtt';

const nodes = new Map(); // node -> its last status that was obeyed
const points = new Map(); // node/dev -> what its points mean

function status(s) {
  const before = nodes.get(s.node);
  if (s.state !== 'online' && before && before.sess !== s.sess) return; // the will of an earlier connection
  nodes.set(s.node, s);
  const wrong = (s.health ?? []).map(h => `${h.dev ?? 'node'}: ${h.text.it}`).join('; ');
  const late = (s.backlog ?? []).reduce((n, b) => n + b.n, 0);
  console.log(`${s.node} ${s.state}${s.sim ? ' SIMULATED' : ''} backlog ${late}${wrong && ' | ' + wrong}`);
}

function sample(b) {
  const meta = points.get(`${b.node}/${b.dev}`) ?? {};
  const s = b.samples.at(-1);
  const values = Object.entries(s.v).map(([k, v]) => `${k}=${v}${meta[k]?.u ? ' ' + meta[k].u : ''}${s.q?.[k] !== undefined ? '?' : ''}`);
  const bad = Object.keys(s.q ?? {}).filter(k => !(k in s.v)).map(k => `${k}=-`); // no value: not 0
  console.log(`${b.node}/${b.dev} ${b.clk === 'free' ? 'time unknown' : new Date(s.ts).toISOString()} ${[...values, ...bad].join(' ')}`);
}

const client = mqtt.connect(process.argv[2]);
client.on('connect', () => client.subscribe(['status', 'meta/+', 'tele/+'].map(t => 'bordo/v1/+/+/' + t), {qos: 1}));
client.on('message', (topic, payload) => {
  const [, , , node, kind, dev] = topic.split('/');
  const body = payload.length ? JSON.parse(payload) : null; // empty: a device has left
  if (kind === 'status') status(body);
  else if (kind === 'meta') points.set(`${node}/${dev}`, body?.points ?? {});
  else sample(body);
});
