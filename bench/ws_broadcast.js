// Sends the same text to all WebSocket clients once an interval, as ws' manual does it.
// node ws_broadcast.js WS_DIRECTORY PORT BYTES INTERVAL_MS
'use strict'

const [directory, port, bytes, interval] = process.argv.slice(2)
const { WebSocketServer, WebSocket } = require(directory)

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), backlog: 1024 })
const fixed = JSON.stringify({ timestamp: new Date().toISOString(), data: '' }).length
const data = 'x'.repeat(Math.max(0, Number(bytes) - fixed))

setInterval(() => {
  const text = JSON.stringify({ timestamp: new Date().toISOString(), data })
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(text)
  }
}, Number(interval))
