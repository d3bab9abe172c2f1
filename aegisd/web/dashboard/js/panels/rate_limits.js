// What the gateway's rate limits decided in the range, and for whom they denied most.

import { make, setText } from "../dom.js";
import { count, percent } from "../format.js";
import { rangeParams } from "../view.js";
import { keepAsking } from "./asking.js";
import { figure, name } from "./cells.js";
import { furnish } from "./part.js";
import { createTable } from "./table.js";

const KEYS = 10;
const PAUSE_MS = 10_000; // keys are kept by the minute
const PER_CENT = 100;

/** Shows rate limits. */
export function startRateLimits({ view, api, session }) {
  const tiles = Object.fromEntries(
    ["Checked", "Denied", "Share denied"].map((label) => [label, make("dd", {}, "–")]),
  );
  const table = createTable({
    labelledBy: "rate-limits-title",
    columns: [
      { key: "key", label: "Key", cell: name("key"), heads: true },
      { key: "checked", label: "Checked", cell: figure("checked", count), number: true },
      { key: "denied", label: "Denied", cell: figure("denied", count), number: true },
      { key: "share", label: "Share", cell: figure("share", percent, "%"), number: true },
    ],
    keyOf: ({ key }) => key,
  });
  const list = Object.entries(tiles).map(([label, value]) =>
    make("div", {}, make("dt", {}, label), value),
  );
  table.element.prepend(make("dl", { class: "tiles" }, ...list));
  furnish("rate-limits", { content: [table.element] });

  const share = (denied, checked) => (checked ? (PER_CENT * denied) / checked : null);
  const ask = keepAsking(session, {
    ask: (signal) =>
      api.get(
        "api/metrics/rate-limits",
        { ...rangeParams(view.get()), node: view.get().node, limit: KEYS },
        signal,
      ),
    show({ data: { checked, denied, topKeys } }) {
      setText(tiles.Checked, count(checked));
      setText(tiles.Denied, count(denied));
      const part = percent(share(denied, checked));
      setText(tiles["Share denied"], checked ? `${part} %` : part);
      const keys = topKeys.map((key) => ({ ...key, share: share(key.denied, key.checked) }));
      table.show(keys, "No rate limit was checked in this range.");
    },
    fail: (error) => table.show([], `Not known: ${error.message}.`),
    pause: () => PAUSE_MS,
  });
  view.onChange((now, changed) => {
    if (["range", "from", "to", "node"].some((key) => changed.has(key))) ask();
  });
}
