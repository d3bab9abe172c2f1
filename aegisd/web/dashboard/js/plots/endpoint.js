// The plots of one endpoint, in a drawer beside the page: it opens when an endpoint is chosen.

import { byId, make, setText } from "../dom.js";
import { plain } from "../format.js";
import { daemonNow } from "../panels/ages.js";
import { keepAsking } from "../panels/asking.js";
import { rangeParams } from "../view.js";
import { createChart } from "./chart.js";
import { pauseBetween } from "./domain.js";
import { createHeatmap } from "./heatmap.js";
import { lineKinds } from "./lines.js";
import { askSeries } from "./questions.js";
import { figures } from "./series.js";

const ASKS_ANEW = ["range", "from", "to", "node", "endpoint"];

/** Shows the chosen endpoint's plots. */
export function startEndpoint({ board, view, api, session }) {
  const section = byId("endpoint");
  const title = byId("endpoint-title");
  const close = () => view.set({ endpoint: null });
  const closing = make("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close", onclick: close }, "✕");
  const note = make("p", { class: "plots-note", role: "status" });
  const charts = lineKinds("endpoint").map((kind) => createChart(board, kind));
  const endpoint = () => view.get().endpoint;
  const { heat, ask: askHeat, note: heatNote } = createHeatmap({ board, view, api, session, id: "endpoint", endpoint });
  const head = make("div", { class: "part-head" });
  title.replaceWith(head);
  head.append(title, make("div", { class: "part-tools" }, closing));
  section.append(note, make("div", { class: "plots" }, ...charts.map(({ element }) => element), heat.element, heatNote));
  let bucket = 10;
  let opener = null; // what had the focus before

  const ask = keepAsking(session, {
    async ask(signal) {
      if (endpoint() === null) return null;
      return askSeries(api, { ...rangeParams(view.get()), node: view.get().node, ...endpoint() }, signal);
    },
    show(columns) {
      if (columns === null) return;
      bucket = columns.bucket;
      setText(note, columns.requests.every((n) => n === 0) ? "No request to it in this range." : "");
      const values = figures(columns);
      for (const chart of charts) chart.show(values);
    },
    fail: (error) => setText(note, `Its history is not to be had: ${error.message}.`),
    pause: () => pauseBetween(bucket, false, daemonNow()),
  });

  function show() {
    const chosen = endpoint();
    const opens = section.hidden && chosen !== null;
    const closes = !section.hidden && chosen === null;
    if (chosen !== null) setText(title, plain(`${chosen.method} ${chosen.path}`));
    if (opens) opener = document.activeElement;
    section.hidden = chosen === null;
    if (opens) closing.focus({ preventScroll: true });
    if (closes) opener?.focus?.({ preventScroll: true });
  }

  section.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) close();
  });
  view.onChange((now, changed) => {
    if (changed.has("endpoint")) show();
    if (now.endpoint === null || !ASKS_ANEW.some((key) => changed.has(key))) return;
    setText(note, "");
    ask();
    askHeat();
  });
  show();
}
