// The daemon's figures of the last minute and since its start; and what to do before the first event.

import { byId, make, setText } from "../dom.js";
import { count, latency, percent, rate } from "../format.js";

const MINUTE = [
  ["requestsPerSecond", "Requests", rate, "/s"],
  ["errorRate", "Error rate", percent, "%"],
  ["p50Latency", "Latency p50", latency, "ms"],
  ["p95Latency", "p95", latency, "ms"],
  ["p99Latency", "p99", latency, "ms"],
  ["avgLatency", "average", latency, "ms"],
];
const NOW = [
  ["activeConnections", "Connections", count, ""],
  ["healthyBackends", "Healthy backends", count, ""],
];
const TOTALS = [
  ["totalRequests", "requests"],
  ["successfulRequests", "successful"],
  ["failedRequests", "failed"],
  ["rateLimitedRequests", "rate-limited (429)"],
  ["rateLimitDenied", "denied by limits"],
];
const EVER = "30d";

/** Shows the overview, as it comes with the feed. */
export function startOverview({ api, feed }) {
  const shows = []; // show(overview)
  const value = (key, format) => {
    const element = make("span", { "data-field": key }, "–");
    shows.push((overview) => setText(element, format(overview[key])));
    return element;
  };
  const tile = ([key, label, format, unit]) => {
    const rest = key === "healthyBackends" ? [" of ", value("totalBackends", count)] : [` ${unit}`];
    return make("div", {}, make("dt", {}, label), make("dd", {}, value(key, format), make("span", { class: "unit" }, ...rest)));
  };
  const group = (title, ...tiles) =>
    make("div", { class: "tile-group" }, make("h3", {}, title), make("dl", { class: "tiles" }, ...tiles));
  const totals = TOTALS.map(([key, label]) => make("span", {}, value(key, count), ` ${label}`));
  byId("overview").append(
    make("div", { class: "panel overview" }, group("Last 60 seconds", ...MINUTE.map(tile)), group("Now", ...NOW.map(tile))),
    make("p", { class: "totals" }, make("span", {}, "Since the daemon started"), ...totals),
  );
  const first = firstEvent();
  byId("notices").append(first);
  let ever = null; // whether there was a request in the last thirty days; null while not known

  async function findOut() {
    ever = false;
    try {
      const { data } = await api.get("api/metrics/nodes", { range: EVER });
      ever = data.length > 0;
    } catch {
      ever = null; // history is away: nobody can say
    }
    return ever === false;
  }

  feed.on("metrics", ({ overview }) => {
    if (!overview) return;
    for (const show of shows) show(overview);
    if (overview.totalRequests > 0) {
      ever = true;
      first.hidden = true;
    } else if (ever === null) findOut().then((never) => (first.hidden = !never || ever === true));
  });
}

function firstEvent() {
  return make(
    "section",
    { id: "first-event", class: "panel notice", "aria-labelledby": "first-event-title", hidden: true },
    make("h2", { id: "first-event-title" }, "No request yet"),
    make("p", {}, "The daemon is running and waits for events. Send a first one from a shell on this host:"),
    make("pre", { tabindex: "0" }, "aegisd send method=GET path=/hello status_code=200 duration_ms=12.5"),
    make("p", {}, "It shows up here within a second or two. Then point your gateway at the same socket."),
  );
}
