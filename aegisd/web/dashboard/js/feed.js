// What the daemon sends by itself, over one WebSocket; asked for instead while there is none.

import { mergeMetrics } from "./feed/merge.js";
import { judge, MOST_MS, pauseAfter } from "./feed/pace.js";
import { createPolling } from "./feed/polling.js";
import { TURNED_OFF, UNREACHABLE, whyNot } from "./feed/reason.js";

const TICK_MS = 1_000;
const TOPICS = {
  overview: true,
  requestRate: true,
  latencyPercentiles: true,
  statusDistribution: true,
  topEndpoints: true,
  backends: true,
  alerts: true,
};

/** Makes the feed of the page at base, whose WebSocket is at path; nothing happens before start().
 *
 * on("metrics", f): f({ timestamp, overview, requestRate, … }), each series whole.
 * on("alert", f): f(alert). on("state", f): f({ state, reason, retryAt }), where state is connecting,
 * live, polling (by plain requests; reason says why), lost or unauthorized; retryAt is when the
 * WebSocket is tried next (ms since 1970), or 0.
 */
export function createFeed(base, path, api) {
  const listeners = { metrics: new Set(), alert: new Set(), state: new Set() };
  const tell = (event, value) => listeners[event].forEach((listener) => listener(value));
  const polling = createPolling(api, {
    metrics(message) {
      if (current.state === "lost") become(why);
      takeMetrics(message);
    },
    alert: (alert) => tell("alert", alert),
    failed: (error) => become(error.status === 401 ? whyNot(error) : UNREACHABLE),
  });
  let current = { state: "connecting", reason: "", retryAt: 0 };
  let why = TURNED_OFF; // what to show while polling works
  let metrics = {};
  let newestAlert = null; // its id
  let socket = null;
  let wasHeard = false; // of this socket
  let failures = 0; // attempts since the WebSocket was last heard
  let heardAt = 0;
  let askedAt = 0; // when we asked for a pong that has not come
  let retryAt = 0; // when the next attempt is due; 0 while there is none to come

  function become({ state, reason }) {
    const next = { state, reason, retryAt };
    if (JSON.stringify(next) === JSON.stringify(current)) return;
    current = next;
    tell("state", current);
  }

  function takeMetrics(message) {
    metrics = mergeMetrics(metrics, message);
    tell("metrics", metrics);
  }

  function connect() {
    const url = new URL(path, base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(url);
    [heardAt, askedAt, retryAt, wasHeard] = [Date.now(), 0, 0, false];
    socket.onopen = () => {
      const since = newestAlert === null ? {} : { since: newestAlert };
      socket.send(JSON.stringify({ type: "subscribe", data: TOPICS, delta: true, ...since }));
    };
    socket.onmessage = ({ data }) => receive(JSON.parse(data));
    socket.onclose = disconnect;
  }

  function receive(message) {
    [heardAt, askedAt, failures, wasHeard] = [Date.now(), 0, 0, true];
    polling.stop();
    become({ state: "live", reason: "" });
    if (message.type === "metrics") takeMetrics(message);
    else if (message.type === "alert") {
      newestAlert = message.data.id;
      tell("alert", message.data);
    } else if (message.type === "error") console.warn("aegisd:", message.error);
  }

  function disconnect() {
    // A dead peer never answers the closing handshake: what it says later is nobody's.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
    retryAt = Date.now() + pauseAfter(failures++, Math.random());
    if (wasHeard) become({ state: "lost", reason: "" });
    else findOut();
  }

  // A browser doesn't tell why a WebSocket was refused: the same address does, when asked plainly.
  async function findOut() {
    const answer = await api.get(path).then(() => ({ status: 200 }), (error) => error);
    if (socket !== null || retryAt === 0) return; // tried again meanwhile
    why = whyNot(answer);
    if (why.state === "unauthorized") stop();
    if (why.state === "polling") {
      retryAt = Math.max(retryAt, Date.now() + MOST_MS);
      polling.start();
    }
    become(why);
  }

  function stop() {
    polling.stop();
    retryAt = 0;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
  }

  function tick() {
    const now = Date.now();
    if (retryAt && now >= retryAt) return connect();
    if (socket === null) return;
    const silence = judge(now, heardAt, askedAt);
    if (silence === "dead") return disconnect();
    if (silence !== "ask") return;
    askedAt = now;
    if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  }

  /** Tries the WebSocket now, where it would be tried later. */
  function retry() {
    if (retryAt) connect();
  }

  return {
    on(event, listener) {
      listeners[event].add(listener);
      return () => listeners[event].delete(listener);
    },

    /** Begins, or begins anew after a login. */
    start() {
      stop();
      failures = 0;
      become({ state: "connecting", reason: "" });
      if (path) connect();
      else {
        become(TURNED_OFF);
        polling.start();
      }
    },

    /** Ends at once: the viewer is logged out. */
    stop() {
      stop();
      become({ state: "unauthorized", reason: "" });
    },

    retry,

    /** Ticks, and tries at once when the network or the viewer comes back. Called once. */
    watch(window) {
      window.setInterval(tick, TICK_MS);
      window.addEventListener("online", retry);
      window.document.addEventListener("visibilitychange", () => window.document.hidden || retry());
    },
  };
}
