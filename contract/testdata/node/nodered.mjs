// Runs the function node of a Node-RED flow on a message.   nodered.mjs FLOW MESSAGE
import {readFileSync} from 'node:fs';

const node = JSON.parse(readFileSync(process.argv[2])).find(n => n.type === 'function');
const msg = {payload: JSON.parse(readFileSync(process.argv[3]))};
console.log(JSON.stringify(new Function('msg', node.func)(msg)));
