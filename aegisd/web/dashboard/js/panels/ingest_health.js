// What is not well with the events' way in, from the data of api/ingest and api/status.

import { count } from "../format.js";

const LATE_SECONDS = 60; // the database is this far behind: it should catch up within seconds

const sum = (numbers) => numbers.reduce((total, number) => total + (number ?? 0), 0);

/** [{ tone, text }], the worst first; bad is now, warning and info are since the daemon started. */
export function findings(ingest, status) {
  const { database, degradations } = status;
  const found = degradations.map((line) => ({ tone: "bad", text: line }));
  if (!database.connected && degradations.length === 0) {
    found.push({ tone: "bad", text: "the database is away" });
  }
  if (database.lagSeconds > LATE_SECONDS) {
    found.push({ tone: "bad", text: `the database is ${count(database.lagSeconds)} s behind` });
  }
  const warn = (number, text) => number > 0 && found.push({ tone: "warning", text: `${count(number)} ${text}` });
  for (const [place, number] of Object.entries(ingest.dropped)) {
    warn(number, `dropped at the ${place} since the start`);
  }
  warn(sum(ingest.listeners.map((one) => one.kernelDropped)), "datagrams dropped by the kernel since the start");
  warn(sum(ingest.sources.map((one) => one.lost)), "lost on the way since the start");
  const rejected = sum(Object.values(ingest.rejected));
  if (rejected > 0) found.push({ tone: "info", text: `${count(rejected)} rejected since the start` });
  return found;
}

/** "12,345 events by 3 listeners": what came in since the start. */
export function received({ events, listeners }) {
  const total = sum(Object.values(events));
  return `${count(total)} ${total === 1 ? "event" : "events"} by ${listeners.length} listeners`;
}

/** The reasons of rejects that happened, most first: [{ reason, number }]. */
export function reasons({ rejected }) {
  return Object.entries(rejected)
    .map(([reason, number]) => ({ reason, number }))
    .filter(({ number }) => number > 0)
    .sort((a, b) => b.number - a.number);
}
