// Moments as ages that go on: "5s ago". By the daemon's clock, since this browser's may be wrong.

import { setText } from "../dom.js";
import { ago, zoned } from "../format.js";

const TICK_MS = 1_000;

let ahead = 0; // ms by which the daemon's clock is ahead of this browser's

/** Now, by the daemon's clock (ms since 1970). */
export const daemonNow = () => Date.now() + ahead;

/** Puts a moment (RFC 3339, or null) into a <time>; before comes before its age. */
export function setAge(element, moment, before = "") {
  const time = Date.parse(moment ?? "");
  const known = !Number.isNaN(time);
  element.dateTime = known ? moment : "";
  element.title = known ? zoned(time) : "";
  element.dataset.before = before;
  setText(element, known ? before + ago(daemonNow() - time) : "–");
}

/** Keeps all ages of the page current. */
export function startAges({ feed }) {
  feed.on("metrics", ({ timestamp }) => {
    const time = Date.parse(timestamp);
    if (!Number.isNaN(time)) ahead = time - Date.now();
  });
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-before][datetime]")) {
      if (element.dateTime) setAge(element, element.dateTime, element.dataset.before);
    }
  }, TICK_MS);
}
