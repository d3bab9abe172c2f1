// What all plots share: the stretch of time, the cursor, the alerts' marks.

import { daemonNow } from "../panels/ages.js";
import { DEFAULT_RANGE } from "../view.js";
import { colourOf } from "./colours.js";
import { domainOf, panned, patchFor, zoomed } from "./domain.js";
import { drawMarks, labelAt, marksIn } from "./marks.js";

const PIXELS = 600; // about as many as a plot is wide: time moves on by one of them

/** Makes the board of a view. Plots on it are { element, point(isMine), draw() }. */
export function createBoard(view) {
  const plots = new Set();
  const listeners = new Set();
  let alerts = [];
  let bucket = 0; // s, of the plots of all requests
  let cursor = null; // s since 1970; null where nobody points
  let named = view.get().range ?? DEFAULT_RANGE; // what a zoom leads back to

  function domain() {
    const { from, to } = domainOf(view.get(), daemonNow());
    const step = Math.max(1, (to - from) / PIXELS);
    return domainOf(view.get(), Math.ceil(to / step) * step * 1000);
  }

  const tell = () => listeners.forEach((listener) => listener(cursor));
  const show = (stretch) => view.set(patchFor(stretch, daemonNow()));

  view.onChange(({ range }) => {
    named = range ?? named;
  });

  return {
    domain,
    cursor: () => cursor,
    /** What is said of the alerts that hold in the bucket that begins at a time. */
    alertsAt: (time) => labelAt(marksIn(alerts, domain(), daemonNow()), time, bucket),
    named: () => named,

    add: (plot) => plots.add(plot),
    drawMarks: (plot) => drawMarks(plot, marksIn(alerts, domain(), daemonNow()), colourOf),

    setAlerts(next) {
      alerts = next;
      plots.forEach((plot) => plot.draw());
      tell();
    },

    setBucket(seconds) {
      bucket = seconds;
    },

    /** Points all plots at a time (s), or at none; by is the plot that did, whose cursor is there. */
    setCursor(time, by = null) {
      const next = time ?? null;
      if (next === cursor) return;
      cursor = next;
      for (const plot of plots) plot.point(plot.element === by);
      tell();
    },

    /** Calls listener(time) when the cursor moves, or alerts change. */
    onCursor: (listener) => listeners.add(listener),

    zoomTo: show,
    zoom: (factor) => show(zoomed(domain(), factor)),
    pan: (direction) => show(panned(domain(), direction)),
    reset: () => view.set({ range: named, from: null, to: null }),
  };
}
