// The figures of the live connection, asked for by plain requests while there is no WebSocket.

const EVERY_MS = 5_000;
const LIVE_RANGE = { range: "15m" };
const ALERTS = { limit: 50 };

// the paths of the topics; of those that share a daemon's memory and the database, each may fail
const PATHS = {
  overview: ["api/metrics/realtime"],
  backends: ["api/metrics/backends"],
  requestRate: ["api/metrics/request-rate", LIVE_RANGE],
  latencyPercentiles: ["api/metrics/latency", LIVE_RANGE],
  statusDistribution: ["api/metrics/status-distribution", LIVE_RANGE],
  topEndpoints: ["api/metrics/top-endpoints", { range: "1h", limit: 10 }],
};

/** Makes what polls. metrics({ timestamp, data }) and alert(alert) get what it finds, failed(error)
 * the ApiError of a round in which nothing answered.
 */
export function createPolling(api, { metrics, alert, failed }) {
  let timer = 0;
  let round = 0;
  let alerts = null; // id → what was last known of it, as text

  async function poll() {
    const own = ++round;
    if (!document.hidden) await ask(() => own === round && timer !== 0);
    if (own === round && timer !== 0) timer = setTimeout(poll, EVERY_MS);
  }

  async function ask(stillWanted) {
    const topics = Object.entries(PATHS);
    const answers = await Promise.allSettled([
      ...topics.map(([, [path, params]]) => api.get(path, params)),
      api.get("api/alerts", ALERTS),
    ]);
    if (!stillWanted()) return;
    const found = answers.at(-1);
    if (found.status === "fulfilled") tellAlerts(found.value.data);
    const data = Object.fromEntries(
      topics
        .map(([topic], place) => [topic, answers[place].value?.data])
        .filter(([, value]) => value !== undefined),
    );
    if (Object.keys(data).length > 0) {
      metrics({ timestamp: data.overview?.timestamp ?? new Date().toISOString(), data });
    } else failed(answers[0].reason);
  }

  function tellAlerts(list) {
    const before = alerts;
    alerts = new Map(list.map((one) => [one.id, JSON.stringify(one)]));
    if (before === null) return; // those of the first round are no news
    for (const one of [...list].reverse()) {
      if (before.get(one.id) !== alerts.get(one.id)) alert(one);
    }
  }

  return {
    /** Polls at once, and then every EVERY_MS; does nothing where it does so already. */
    start() {
      if (timer !== 0) return;
      alerts = null;
      timer = -1; // a number that no timer has
      poll();
    },

    stop() {
      clearTimeout(timer);
      timer = 0;
    },
  };
}
