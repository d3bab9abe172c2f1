// Keeps the alerts that the plots mark: from the API, and as they come.

import { keepAsking } from "../panels/asking.js";

const ASKED = 200; // the newest
const KEPT = 1_000;
const PAUSE_MS = 60_000; // the feed tells of new ones at once

/** Marks alerts on the board. */
export function startMarks({ board, api, feed, session }) {
  const alerts = new Map(); // by id

  function take(news) {
    for (const alert of news) alerts.set(alert.id, alert);
    for (const id of alerts.keys()) {
      if (alerts.size <= KEPT) break;
      alerts.delete(id);
    }
    board.setAlerts([...alerts.values()]);
  }

  keepAsking(session, {
    ask: (signal) => api.get("api/alerts", { limit: ASKED }, signal),
    show: ({ data }) => take(data),
    fail: () => {}, // the list of alerts says why
    pause: () => PAUSE_MS,
  });
  feed.on("alert", (alert) => take([alert]));
}
