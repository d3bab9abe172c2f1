// An emitter in plain Node, written from docs/wire.md: it sends the events of the conformance
// vectors in each form. Arguments: the vectors' file, a UDP port, "alone", "list" or "columns".
'use strict';
const dgram = require('dgram');
const fs = require('fs');

const WIRE = {duration_us: 'duration_ms', response_time_us: 'response_time_ms'};

function head(count, small, wide) {
  if (count < 16) return Buffer.from([small | count]);
  return Buffer.from([wide, count >> 8, count & 0xff]);
}

function text(value) {
  const utf8 = Buffer.from(value);
  const size = Buffer.from([0xda, utf8.length >> 8, utf8.length & 0xff]);
  return Buffer.concat([size, utf8]);
}

function number(value) {
  const packed = Buffer.alloc(9);
  packed[0] = typeof value === 'bigint' ? 0xd3 : 0xcb;
  if (packed[0] === 0xd3) packed.writeBigInt64BE(value, 1);
  else packed.writeDoubleBE(value, 1);
  return packed;
}

function pack(value) {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === 'string') return text(value);
  if (typeof value !== 'object') return number(value);
  if (Buffer.isBuffer(value)) {
    return Buffer.concat([Buffer.from([0xc5, value.length >> 8, value.length & 0xff]), value]);
  }
  if (Array.isArray(value)) {
    return Buffer.concat([head(value.length, 0x90, 0xdc), ...value.map(pack)]);
  }
  const pairs = Object.entries(value);
  return Buffer.concat([head(pairs.length, 0x80, 0xde), ...pairs.flat().map(pack)]);
}

// As it travels: durations are milliseconds, as floats; all other whole numbers are integers.
function wire(event) {
  const fields = {};
  for (const [name, value] of Object.entries(event)) {
    if (name in WIRE) fields[WIRE[name]] = Number(value) / 1000;
    else fields[name] = name === 'cpu_percent' ? Number(value) : value;
  }
  return fields;
}

// One message for all events of a kind: durations and statuses in binary, the rest as lists.
function columns(kind, events) {
  const table = {};
  for (const name of new Set(events.flatMap(Object.keys))) {
    const values = events.map(event => event[name] ?? null);
    if (name === 'kind') continue;
    if (name.endsWith('_ms')) {
      table[name] = Buffer.alloc(8 * values.length);
      values.forEach((value, i) => table[name].writeDoubleLE(value ?? NaN, 8 * i));
    } else if (name === 'status_code') {
      table[name] = Buffer.alloc(2 * values.length);
      values.forEach((value, i) => table[name].writeUInt16LE(Number(value), 2 * i));
    } else {
      table[name] = values;
    }
  }
  return {v: 1n, kind, n: BigInt(events.length), columns: table};
}

function gathered(events, size) {
  const parts = [];
  for (let i = 0; i < events.length; i += size) parts.push(events.slice(i, i + size));
  return parts;
}

const FORMS = {
  alone: events => events,
  list: events => gathered(events, 50),
  columns: events => [...new Set(events.map(event => event.kind))].flatMap(kind =>
    gathered(events.filter(event => event.kind === kind), 100).map(part => columns(kind, part))),
};

const [file, port, form] = process.argv.slice(2);
// integers as BigInt: JSON.parse would make floats of them, and lose the last of 64 bits
const json = fs.readFileSync(file, 'utf8').replace(/": (-?\d+)(?=[,}\s])/g, '": "bigint $1"');
const revive = (_, v) =>
  typeof v === 'string' && v.startsWith('bigint ') ? BigInt(v.slice(7)) : v;
const vectors = JSON.parse(json, revive).vectors.filter(vector => !vector.clock);
const events = vectors.flatMap(vector => vector.events).map(wire);

const source = `node:${process.pid}:${form}`;
const socket = dgram.createSocket('udp4');
socket.connect(Number(port), '127.0.0.1', async () => {
  let seq = 0;
  const send = message => new Promise((resolve, reject) =>
    socket.send(pack(message), error => error ? reject(error) : resolve()));
  for (const part of FORMS[form](events)) {
    const many = Array.isArray(part);
    const numbered = {source, seq: BigInt(seq)};
    await send(many ? {v: 1n, ...numbered, events: part} : {...part, ...numbered});
    seq += many ? part.length : Number(part.n ?? 1);
  }
  await send({v: 1n, source, seq: BigInt(seq), events: []});
  socket.close();
});
