// The live page: one WebSocket, cells updated in place. Server text reaches the DOM by textContent
// only: paths, names and messages are whatever a client of the gateway chose to send.

const ASK_MS = 4_000; // the daemon was silent for this long: ask it for a pong
const DEAD_MS = 10_000; // still silent: the connection is dead
const BACKOFF_MS = { first: 1_000, most: 30_000 };
const ALERTS_RETRY_MS = 30_000;
const ALERTS_SHOWN = 20;
const SUBSCRIPTION = { overview: true, topEndpoints: true, backends: true, alerts: true };

const byId = (id) => document.getElementById(id);

// --- Values: an element's data-format says how it shows its value ---

const decimals = (least, most = least) =>
  new Intl.NumberFormat(undefined, { minimumFractionDigits: least, maximumFractionDigits: most });
const [whole, tenths, hundredths, upToTwo] = [decimals(0), decimals(1), decimals(2), decimals(0, 2)];
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat("en", { style: "narrow" });
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 0]];

const TONES = new Map([
  ["healthy", "ok"], ["unhealthy", "bad"], ["closed", "ok"], ["half_open", "warning"], ["open", "bad"],
  ["info", "info"], ["warning", "warning"], ["critical", "bad"],
]);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const number = (format) => (element, value) => {
  const known = Number.isFinite(value);
  setText(element, known ? format(value) : "–");
  element.toggleAttribute("data-none", !known);
};

const FORMATS = {
  count: number((n) => whole.format(n)),
  rate: number((n) => (n < 10_000 ? tenths : whole).format(n)),
  percent: number((n) => hundredths.format(n)),
  latency: number((n) => (n < 10 ? hundredths : n < 1000 ? tenths : whole).format(n)),
  value: number((n) => upToTwo.format(n)),
  text(element, value) {
    setText(element, value);
    element.title = value; // the style may cut the text short
  },
  badge(element, value) {
    setText(element, value?.replace("_", " ") ?? "–");
    element.dataset.tone = TONES.get(value) ?? "none";
  },
  share(element, value) {
    element.style.transform = `scaleX(${value})`;
  },
  time(element, value) {
    const time = Date.parse(value ?? "");
    element.dateTime = value ?? "";
    element.title = Number.isNaN(time) ? "" : absolute.format(time);
    setText(element, Number.isNaN(time) ? "" : ago(Date.now() + clockOffset - time));
  },
};

function setValue(element, value) {
  FORMATS[element.dataset.format](element, value);
}

let clockOffset = 0; // ages are taken by the daemon's clock, since this browser's may be wrong

function ago(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size);
  return relative.format(-Math.floor(seconds / (size || 1)), unit);
}

// --- Tables ---

// A table whose rows stay the same elements as long as their key does, so that a selection, a
// screen reader's place or a hovered title survives the next update.
function keyedTable(id, keyName, keyOf) {
  const table = byId(id);
  const body = table.tBodies[0];
  const template = byId(`${id}-row`).content.firstElementChild;
  const empty = byId(`${id}-empty`);
  const rows = new Map();

  return function render(items) {
    const seen = new Set();
    for (const item of items) {
      const key = keyOf(item);
      const row = rows.get(key) ?? template.cloneNode(true);
      rows.set(key, row);
      row.dataset[keyName] = key;
      if (item.status) row.dataset.status = item.status;
      for (const cell of row.querySelectorAll("[data-cell]")) setValue(cell, item[cell.dataset.cell]);
      const place = body.rows[seen.size] ?? null;
      if (place !== row) body.insertBefore(row, place);
      seen.add(key);
    }
    for (const [key, row] of rows) {
      if (seen.has(key)) continue;
      row.remove();
      rows.delete(key);
    }
    table.hidden = seen.size === 0;
    empty.hidden = seen.size > 0;
    for (const line of empty.children) line.hidden = !("whenLoaded" in line.dataset);
  };
}

const renderBackends = keyedTable("backends", "backend", (backend) => backend.name);
const renderEndpoints = keyedTable("endpoints", "endpoint", (e) => JSON.stringify([e.method, e.path]));
const renderAlerts = keyedTable("alerts", "alertId", (alert) => alert.id);

// --- Metrics ---

const known = { requests: null, endpoints: null };

function showOverview(overview) {
  for (const element of document.querySelectorAll("[data-field]")) {
    const value = overview[element.dataset.field];
    setValue(element, value);
    element.value = value ?? ""; // unformatted
  }
  known.requests = overview.totalRequests;
}

function showBackends({ backends }) {
  const well = (backend) => backend.status === "healthy";
  renderBackends([...backends].sort((a, b) => well(a) - well(b) || a.name.localeCompare(b.name)));
}

function showEndpoints(endpoints) {
  const most = Math.max(1, ...endpoints.map((endpoint) => endpoint.requestCount));
  known.endpoints = endpoints.length;
  renderEndpoints(endpoints.map((endpoint) => ({ ...endpoint, share: endpoint.requestCount / most })));
}

// A message holds what is subscribed; before the first "subscribed" that is less than we show.
function showMetrics({ overview, backends, topEndpoints }) {
  if (overview) showOverview(overview);
  if (backends) showBackends(backends);
  if (topEndpoints) showEndpoints(topEndpoints);
  byId("first-event").hidden = !(known.requests === 0 && known.endpoints === 0);
}

// --- Alerts ---

let alerts = new Map();
const pushed = new Set(); // ids heard of over this connection: newer than anything loaded
let alertsLoad = 0;

function alertRow(alert) {
  const { status, acknowledgedBy } = alert;
  const by = status === "acknowledged" && acknowledgedBy ? ` by ${acknowledgedBy}` : "";
  const changedAt = { acknowledged: alert.acknowledgedAt, resolved: alert.resolvedAt }[status];
  return { ...alert, state: status + by, changedAt };
}

function showAlerts() {
  const over = (alert) => alert.status === "resolved";
  const since = (alert) => Date.parse(alert.triggeredAt);
  const shown = [...alerts.values()]
    .sort((a, b) => over(a) - over(b) || since(b) - since(a))
    .filter((alert, place) => place < ALERTS_SHOWN || !over(alert));
  alerts = new Map(shown.map((alert) => [alert.id, alert]));
  renderAlerts(shown.map(alertRow));

  const count = (status) => shown.filter((alert) => alert.status === status).length;
  const [active, acknowledged] = [count("active"), count("acknowledged")];
  const taken = acknowledged ? `, ${acknowledged} acknowledged` : "";
  setText(byId("alerts-summary"), `${active} active${taken}`);
  byId("alert-count").hidden = active === 0;
  setText(byId("alert-count"), `${active} active ${active === 1 ? "alert" : "alerts"}`);
  document.title = active ? `(${active}) aegisd` : "aegisd";
}

function pushAlert(alert) {
  pushed.add(alert.id);
  alerts.set(alert.id, alert);
  showAlerts();
  const { severity, status, ruleName, message } = alert;
  setText(byId("alert-news"), `${severity} alert ${status}: ${ruleName}. ${message}`);
}

async function fetchAlerts(query) {
  const response = await fetch(`/api/alerts?${query}`, { headers: { Accept: "application/json" } });
  if (response.status === 503) throw new Error("the database is away");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()).data;
}

async function loadAlerts() {
  const load = ++alertsLoad;
  let note = "";
  try {
    // An open alert can be older than the newest twenty, so the open ones are asked for by name.
    const queries = [`limit=${ALERTS_SHOWN}`, "status=active&limit=99", "status=acknowledged&limit=99"];
    const lists = await Promise.all(queries.map(fetchAlerts));
    if (load !== alertsLoad) return;
    for (const id of alerts.keys()) if (!pushed.has(id)) alerts.delete(id);
    for (const alert of lists.flat()) if (!pushed.has(alert.id)) alerts.set(alert.id, alert);
    showAlerts();
  } catch (error) {
    if (load !== alertsLoad) return;
    note = `Alert history is unavailable: ${error.message}. New alerts still show here.`;
    byId("alerts-empty").hidden = true;
    setTimeout(() => load === alertsLoad && loadAlerts(), ALERTS_RETRY_MS);
  }
  setText(byId("alerts-note"), note);
}

// --- Connection ---

// Off: dashboard.websocket.enabled is false, so the page has no path to connect to.
const LABELS = { connecting: "Connecting", live: "Live", lost: "Reconnecting", off: "Live view is off" };
const badge = byId("connection");
const path = document.querySelector("meta[name=aegisd-websocket]").content;
let socket = null;
let failures = 0; // attempts since the daemon was last heard
let heardAt = 0;
let askedAt = 0; // when we asked for a pong that has not come
let retryAt = 0; // when the next attempt is due; 0 while there is a socket
let metricsAt = 0;

function setState(state) {
  badge.dataset.state = state;
  setText(badge, LABELS[state]);
  document.body.classList.toggle("stale", state === "lost");
  byId("retry").hidden = state !== "lost";
}

function connect() {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  [heardAt, askedAt, retryAt] = [Date.now(), 0, 0];
  socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", data: SUBSCRIPTION }));
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = disconnect;
}

function disconnect() {
  // A dead peer never answers the closing handshake: what it says later is nobody's.
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  socket = null;
  setState("lost");
  const delay = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** failures++);
  retryAt = Date.now() + delay * (0.5 + Math.random() / 2); // jitter: not every page at once
  tick();
}

function receive(message) {
  [heardAt, askedAt, failures] = [Date.now(), 0, 0];
  if (badge.dataset.state !== "live") {
    setState("live");
    pushed.clear(); // some may have been missed meanwhile
    loadAlerts();
  }
  if (message.type === "metrics") {
    metricsAt = Date.now();
    clockOffset = (Date.parse(message.timestamp) || metricsAt) - metricsAt;
    showMetrics(message.data);
  } else if (message.type === "alert") {
    pushAlert(message.data);
  } else if (message.type === "error") {
    console.warn("aegisd:", message.error);
  }
}

function tick() {
  const now = Date.now();
  // The update interval may be longer than our patience, and timers stand still while the machine
  // sleeps: so silence counts only once we asked and gave it time to answer.
  const unanswered = askedAt && now - askedAt >= DEAD_MS - ASK_MS - 1000;
  if (socket && unanswered && now - heardAt >= DEAD_MS) return disconnect();
  if (socket && !askedAt && now - heardAt >= ASK_MS) {
    askedAt = now;
    if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  }
  if (retryAt && now >= retryAt) connect();

  const age = metricsAt && `updated ${ago(now - metricsAt)}`;
  const next = retryAt && `next try in ${Math.ceil((retryAt - now) / 1000)}s`;
  setText(byId("data-age"), [age, next].filter(Boolean).join(", "));
  for (const time of document.querySelectorAll("time[datetime]")) setValue(time, time.dateTime);
}

function retryNow() {
  if (retryAt) connect();
}

byId("retry").addEventListener("click", retryNow);
addEventListener("online", retryNow);
document.addEventListener("visibilitychange", () => document.hidden || retryNow());
setState(path ? "connecting" : "off");
if (path) connect();
else loadAlerts();
setInterval(tick, 1000);
