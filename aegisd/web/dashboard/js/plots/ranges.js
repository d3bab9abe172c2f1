// The range picker: named ranges that end now, or any stretch of time.

import { byId, make, setText } from "../dom.js";
import { RANGES } from "../view.js";

const MINUTE_MS = 60_000;
const shown = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "numeric", minute: "2-digit",
});
const withSeconds = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "numeric", minute: "2-digit", second: "2-digit",
});

/** Starts the picker. */
export function startRanges({ view }) {
  const buttons = RANGES.map((range) => {
    const onclick = () => view.set({ range, from: null, to: null });
    return make("button", { type: "button", "data-range": range, onclick }, range);
  });
  const { dialog, open } = stretchDialog(view);
  const free = make("button", { type: "button", id: "free-range", "aria-haspopup": "dialog", onclick: open });
  const group = make("div", { class: "choices", role: "group", "aria-label": "Range" }, ...buttons, free);
  byId("range-slot").append(group, dialog);

  function show() {
    const { range, from, to } = view.get();
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.range === range));
    }
    free.setAttribute("aria-pressed", String(from !== null));
    setText(free, from === null ? "From – to" : label(from, to));
  }

  view.onChange(show);
  show();
}

function label(from, to) {
  if (to === null) return `since ${shown.format(from)}`;
  const format = to - from < 10 * MINUTE_MS ? withSeconds : shown;
  return format.formatRange(from, to);
}

function stretchDialog(view) {
  const field = (name, text) => {
    const input = make("input", { type: "datetime-local", step: "1", name });
    return [input, make("label", {}, text, input)];
  };
  const [from, fromLabel] = field("from", "From");
  const [to, toLabel] = field("to", "To (now, if left empty)");
  const trouble = make("p", { class: "trouble", role: "alert" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const form = make(
    "form",
    { method: "dialog", onsubmit: apply },
    make("h2", { id: "stretch-title" }, "A stretch of time"),
    fromLabel,
    toLabel,
    make("p", { class: "hint" }, `In this browser’s time zone: ${zone}.`),
    trouble,
    make(
      "div",
      { class: "buttons" },
      make("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      make("button", { type: "submit", class: "primary" }, "Show"),
    ),
  );
  const dialog = make("dialog", { class: "form", "aria-labelledby": "stretch-title" }, form);

  function apply(event) {
    const patch = stretchOf(from.value, to.value);
    setText(trouble, patch === null ? "From is a time, and lies before To." : "");
    if (patch === null) event.preventDefault();
    else view.set(patch);
  }

  function open() {
    const now = Date.now();
    const current = view.get();
    from.value = local(current.from ?? now - 60 * MINUTE_MS);
    to.value = current.from === null || current.to !== null ? local(current.to ?? now) : "";
    setText(trouble, "");
    dialog.showModal();
  }

  return { dialog, open };
}

/** The view's patch for what two fields say, in the viewer's zone; null where it makes no stretch. */
export function stretchOf(fromText, toText) {
  const from = Date.parse(fromText);
  const to = toText === "" ? null : Date.parse(toText);
  if (Number.isNaN(from) || Number.isNaN(to ?? 0) || from < 0) return null;
  if (from >= (to ?? Date.now())) return null;
  return { range: null, from, to };
}

/** A moment (ms) as a field takes it: local time, without a zone. */
function local(time) {
  const date = new Date(time - new Date(time).getTimezoneOffset() * MINUTE_MS);
  return date.toISOString().slice(0, 19);
}
