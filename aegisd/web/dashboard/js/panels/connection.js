// The state of the live connection, in the header; its reason, in words, among the notices.

import { byId, make, setText } from "../dom.js";
import { ago } from "../format.js";
import { daemonNow } from "./ages.js";

const TICK_MS = 1_000;
const LABELS = {
  connecting: ["Connecting", "info"],
  live: ["Live", "ok"],
  polling: ["Polling", "warning"],
  lost: ["Reconnecting", "bad"],
  unauthorized: ["Logged out", "none"],
};
const MEANWHILE = " Figures are asked for every few seconds meanwhile.";

/** Shows the connection. */
export function startConnection({ feed }) {
  const badge = make("span", { id: "connection", class: "badge", role: "status" });
  // What ticks each second stays outside the live region, or it would be read out each second.
  const age = make("span", { id: "data-age" });
  const retry = make("button", { type: "button", id: "retry", onclick: feed.retry, hidden: true }, "Retry now");
  byId("connection-slot").prepend(badge, age, retry);
  const notice = make("p", { id: "connection-reason", class: "panel notice", role: "status", hidden: true });
  byId("notices").append(notice);
  let current = { state: "connecting", reason: "", retryAt: 0 };
  let metricsAt = 0;

  function show() {
    const { state, reason } = current;
    const [label, tone] = LABELS[state];
    Object.assign(badge.dataset, { state, tone });
    setText(badge, label);
    document.body.classList.toggle("stale", state === "lost" || state === "unauthorized");
    retry.hidden = current.retryAt === 0;
    notice.hidden = reason === "" || state === "unauthorized";
    setText(notice, reason + (state === "polling" ? MEANWHILE : ""));
    tick();
  }

  function tick() {
    const { state, retryAt } = current;
    const updated = metricsAt && state !== "live" && `updated ${ago(daemonNow() - metricsAt)}`;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const next = state === "lost" && retryAt && `next try in ${seconds} s`;
    setText(age, [updated, next].filter(Boolean).join(", "));
  }

  feed.on("state", (state) => {
    current = state;
    show();
  });
  feed.on("metrics", ({ timestamp }) => {
    metricsAt = Date.parse(timestamp);
  });
  setInterval(tick, TICK_MS);
  show();
}
