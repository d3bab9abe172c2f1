// The plots of all requests, of history with the daemon's memory on top; and what they are steered by.

import { make, setText } from "../dom.js";
import { clock } from "../format.js";
import { daemonNow } from "../panels/ages.js";
import { keepAsking } from "../panels/asking.js";
import { furnish } from "../panels/part.js";
import { rangeParams } from "../view.js";
import { createBoard } from "./board.js";
import { createChart } from "./chart.js";
import { startControls } from "./controls.js";
import { follows, pauseBetween } from "./domain.js";
import { startEndpoint } from "./endpoint.js";
import { startHeatmap } from "./heatmap.js";
import { lineKinds } from "./lines.js";
import { startNodes } from "./nodes.js";
import { askSeries } from "./questions.js";
import { figures, merged, ofLive } from "./series.js";
import { startMarks } from "./marking.js";

const LIVE_MS = 2_000; // between two drawings of live figures: a pixel of the shorter ranges
const ASKS_ANEW = ["range", "from", "to", "node"];
const MISSING = "The plots can't be drawn: uPlot is not in this installation. In a working tree, make venv fetches it.";

/** Starts all plots. */
export function startPlots({ view, api, feed, session }) {
  const board = createBoard(view);
  const nodes = startNodes({ view, api, session, onKnown: () => redraw() });
  const charts = lineKinds("all").map((kind) => createChart(board, kind));
  const note = make("p", { class: "plots-note", role: "status" });
  const grid = make("div", { class: "plots" }, ...charts.map(({ element }) => element));
  furnish("plots", { tools: startControls(board, view), content: [note, grid] });
  let history = null;
  let trouble = null; // why history can't be had
  let live = null;
  let version = 0; // of history
  let shown = "";
  let drawnAt = 0; // by performance.now()

  const isLive = () => follows(view.get()) && nodes.isOwn(view.get().node);

  function redraw() {
    const columns = merged(history, isLive() ? live : null);
    say(columns);
    if (columns === null) return;
    const state = version + signature(columns, board.domain());
    if (state === shown) return;
    shown = state;
    drawnAt = performance.now();
    board.setBucket(columns.bucket);
    const values = figures(columns);
    for (const chart of charts) chart.show(values);
  }

  function say(columns) {
    const { complete, end } = history ?? {};
    if (globalThis.uPlot === undefined) setText(note, MISSING);
    else if (trouble !== null) {
      const memory = isLive() ? " What this daemon has in memory is shown, of the last 15 minutes." : "";
      setText(note, `History is not to be had: ${trouble.message}.${memory}`);
    } else if (history !== null && complete < end) {
      setText(note, `Some requests since ${clock(complete * 1000)} wait for the database, and are not in these figures yet.`);
    } else if (columns !== null && columns.requests.every((count) => count === 0)) {
      setText(note, "No request in this range.");
    } else setText(note, "");
  }

  const ask = keepAsking(session, {
    ask: (signal) => askSeries(api, { ...rangeParams(view.get()), node: view.get().node }, signal),
    show(answer) {
      [history, trouble] = [answer, null];
      version++;
      redraw();
    },
    fail(error) {
      trouble = error;
      redraw();
    },
    pause: () => pauseBetween(history?.bucket ?? 10, isLive() && trouble === null, daemonNow()),
  });
  feed.on("metrics", (metrics) => {
    if (performance.now() - drawnAt < LIVE_MS) return;
    live = ofLive(metrics);
    redraw();
  });
  view.onChange((now, changed) => {
    if (!ASKS_ANEW.some((key) => changed.has(key))) return;
    if (changed.has("node")) history = null; // else it shows what it has of the new range
    ask();
    redraw();
  });
  startMarks({ board, api, feed, session, view });
  startHeatmap({ board, view, api, session });
  startEndpoint({ board, view, api, session });
}

/** Whether two columns would look the same: the newest bucket goes on without a request, too. */
function signature({ times, requests, p99 }, { from, to }) {
  const sum = requests.reduce((a, b) => a + b, 0);
  return [from, to, times.length, times.at(-1), sum, requests.at(-1), p99.at(-1)].join();
}
