// The events' way in: one line where all is well, else what is not; tables for who wants to know.

import { make, setText } from "../dom.js";
import { count, plain, value } from "../format.js";
import { keepAsking } from "./asking.js";
import { age, figure, name } from "./cells.js";
import { findings, reasons, received } from "./ingest_health.js";
import { keyedChildren } from "./keyed.js";
import { furnish } from "./part.js";
import { createTable } from "./table.js";

const PAUSE_MS = 5_000;
const SOURCES = 20; // with the most lost first
const REJECTS = 20; // the newest

const column = (key, label) => ({ key, label, cell: figure(key, count), number: true });
const heading = (key, label) => ({ key, label, cell: name(key), heads: true });

/** Shows the health of ingest. */
export function startIngest({ api, session }) {
  const list = make("ul", { class: "findings" });
  const facts = make("p", { class: "facts" }, "Waiting for the daemon.");
  const tables = {
    listeners: detail("Listeners", "ingest-listeners", [
      heading("address", "Listener"),
      column("messages", "Messages"),
      column("bytes", "Bytes"),
      column("kernelDropped", "Dropped by the kernel"),
    ], ({ address }) => address),
    reasons: detail("Rejects by reason", "ingest-reasons", [
      heading("reason", "Reason"),
      column("number", "Events"),
    ], ({ reason }) => reason),
    rejects: detail("Recent rejects", "ingest-rejects", [
      { key: "timestamp", label: "When", cell: age("timestamp") },
      heading("reason", "Reason"),
      { key: "field", label: "Field", cell: name("field") },
      column("count", "Events"),
      { key: "listener", label: "Listener", cell: name("listener") },
      { key: "preview", label: "Begins with", cell: name("preview") },
    ], (reject) => JSON.stringify(reject)),
    sources: detail("Sources", "ingest-sources", [
      heading("source", "Source"),
      column("received", "Received"),
      column("lost", "Lost"),
    ], ({ source }) => source),
  };
  const details = make(
    "details",
    {},
    make("summary", {}, "Listeners, rejects and sources"),
    ...Object.values(tables).map(({ element }) => element),
  );
  furnish("ingest", { content: [make("div", { class: "panel" }, list, facts, details)] });

  const renderFindings = keyedChildren(list, {
    keyOf: ({ text }) => text,
    make: () => make("li", {}, make("span", { class: "badge" }), make("bdi")),
    fill(item, { tone, word, text }) {
      item.firstChild.dataset.tone = tone;
      setText(item.firstChild, word);
      setText(item.lastChild, plain(text));
    },
  });

  function show([{ data: ingest }, { data: status }]) {
    const found = findings(ingest, status);
    const words = { bad: "now", warning: "loss", info: "note" };
    const shown = found.map((one) => ({ ...one, word: words[one.tone] }));
    renderFindings(found.length > 0 ? shown : [{ tone: "ok", word: "all well", text: "nothing rejected, dropped or lost" }]);
    setText(facts, factsOf(ingest, status));
    tables.listeners.show(ingest.listeners, "No listener.");
    tables.reasons.show(reasons(ingest), "Nothing was rejected.");
    tables.rejects.show(ingest.recentRejects.slice(0, REJECTS), "Nothing was rejected.");
    const sources = [...ingest.sources].sort((a, b) => b.lost - a.lost || b.received - a.received);
    tables.sources.show(sources.slice(0, SOURCES), "No source numbers its messages.");
  }

  keepAsking(session, {
    ask: (signal) =>
      Promise.all(["api/ingest", "api/status"].map((path) => api.get(path, {}, signal))),
    show,
    fail: (error) => setText(facts, `Not known: ${error.message}.`),
    pause: () => PAUSE_MS,
  });
}

function factsOf(ingest, { version, node, database, journal }) {
  const behind = database.lagSeconds ? `${value(database.lagSeconds)} s behind` : "up to date";
  const state = database.connected ? `database ${behind}` : "database away";
  return `${received(ingest)} · ${state} · ${count(journal.events)} waiting · ${plain(node)}, aegisd ${version}`;
}

function detail(title, id, columns, keyOf) {
  const table = createTable({ labelledBy: id, columns, keyOf });
  table.element.prepend(make("h3", { id }, title));
  table.element.classList.replace("panel", "detail");
  return table;
}
