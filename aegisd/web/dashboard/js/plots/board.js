// What all plots share: the stretch of time, the cursor, the alerts' marks.

import { daemonNow } from "../panels/ages.js";
import { DEFAULT_RANGE } from "../view.js";
import { colourOf } from "./colours.js";
import { domainOf, panned, patchFor, zoomed } from "./domain.js";
import { drawMarks, marksIn } from "./marks.js";

const PIXELS = 600; // about as many as a plot is wide: time moves on by one of them

/** Makes the board of a view. Plots on it are { element, point(isMine), draw() }. */
export function createBoard(view) {
  const plots = new Set();
  const listeners = new Set();
  let alerts = [];
  let cursor = null; // s since 1970; null where nobody points
  let named = view.get().range ?? DEFAULT_RANGE; // what a zoom leads back to

  function domain() {
    const { from, to } = domainOf(view.get(), daemonNow());
    const step = Math.max(1, (to - from) / PIXELS);
    return domainOf(view.get(), Math.ceil(to / step) * step * 1000);
  }

  const show = (stretch) => view.set(patchFor(stretch, daemonNow()));

  view.onChange(({ range }) => {
    named = range ?? named;
  });

  return {
    domain,
    cursor: () => cursor,
    marks: () => marksIn(alerts, domain(), daemonNow()),
    named: () => named,

    add: (plot) => plots.add(plot),
    draw: () => plots.forEach((plot) => plot.draw()),
    drawMarks: (plot) => drawMarks(plot, marksIn(alerts, domain(), daemonNow()), colourOf),

    setAlerts(next) {
      alerts = next;
      plots.forEach((plot) => plot.draw());
    },

    /** Points all plots at a time (s), or at none; by is the plot that did, whose cursor is there. */
    setCursor(time, by = null) {
      const next = time ?? null;
      if (next === cursor) return;
      cursor = next;
      for (const plot of plots) plot.point(plot.element === by);
      for (const listener of listeners) listener(cursor);
    },

    /** Calls listener(time) when the cursor moves. */
    onCursor: (listener) => listeners.add(listener),

    zoomTo: show,
    zoom: (factor) => show(zoomed(domain(), factor)),
    pan: (direction) => show(panned(domain(), direction)),
    reset: () => view.set({ range: named, from: null, to: null }),
  };
}
