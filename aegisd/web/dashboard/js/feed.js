// What the daemon sends by itself, over one WebSocket.

const BACKOFF_MS = { first: 1_000, most: 30_000 };
const TOPICS = {
  overview: true,
  requestRate: true,
  latencyPercentiles: true,
  statusDistribution: true,
  topEndpoints: true,
  backends: true,
  alerts: true,
};

/** Makes the feed of the page at base; nothing happens before start().
 *
 * on("metrics", f): f({ timestamp, overview, requestRate, … }), each series whole.
 * on("alert", f): f(alert). on("state", f): f({ state, reason }), state is one of connecting, live,
 * polling, lost, unauthorized.
 */
export function createFeed(base) {
  const path = document.querySelector("meta[name=aegisd-websocket]").content;
  const listeners = { metrics: new Set(), alert: new Set(), state: new Set() };
  const tell = (event, value) => listeners[event].forEach((listener) => listener(value));
  let failures = 0;

  function connect() {
    const url = new URL(path, base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", data: TOPICS }));
    socket.onmessage = ({ data }) => receive(JSON.parse(data));
    socket.onclose = () => {
      tell("state", { state: "lost", reason: "" });
      setTimeout(connect, Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** failures++));
    };
  }

  function receive(message) {
    if (failures >= 0) tell("state", { state: "live", reason: "" });
    failures = 0;
    if (message.type === "metrics") tell("metrics", { timestamp: message.timestamp, ...message.data });
    else if (message.type === "alert") tell("alert", message.data);
  }

  return {
    on(event, listener) {
      listeners[event].add(listener);
      return () => listeners[event].delete(listener);
    },
    start() {
      tell("state", { state: "connecting", reason: "" });
      if (path) connect();
    },
  };
}
