// What tables and lists are made of: each gives { make(), fill(element, item) }.

import { make, setText } from "../dom.js";
import { plain } from "../format.js";
import { setAge } from "./ages.js";

const SHOWN_CHARACTERS = 100; // of a name; a button shows the rest
const ELLIPSIS = "…";

const TONES = {
  healthy: "ok", closed: "ok", connected: "ok",
  half_open: "warning", warning: "warning",
  unhealthy: "bad", open: "bad", critical: "bad",
  info: "info", observed: "info",
};

/** A figure by one of format.js' formats, with its unit. */
export const figure = (key, format, unit = "") => ({
  make: () => make("span", {}, make("span"), unit && make("span", { class: "unit" }, ` ${unit}`)),
  fill(element, item) {
    const text = format(item[key]);
    setText(element.firstChild, text);
    element.toggleAttribute("data-none", text === "–");
  },
});

/** A word of a fixed set, with the shape and colour of its meaning. */
export const badge = (key) => ({
  make: () => make("span", { class: "badge" }),
  fill(element, item) {
    const word = item[key];
    setText(element, word ? word.replace("_", " ") : "–");
    element.dataset.tone = TONES[word] ?? "none";
  },
});

/** How long ago a moment was. */
export const age = (key) => ({
  make: () => make("time"),
  fill: (element, item) => setAge(element, item[key]),
});

/** A name from outside: neutralised, isolated, clipped where it is long; a button shows all of it.
 *
 * With choose(item), the name itself is a button.
 */
export const name = (key, choose = null) => ({
  make() {
    const text = make("bdi");
    const shown = choose === null ? text : make("button", { type: "button", class: "link" }, text);
    const more = make("button", { type: "button", class: "more", hidden: true });
    const element = make("span", { class: "name" }, shown, more);
    if (choose !== null) shown.addEventListener("click", () => choose(element.item));
    more.addEventListener("click", () => {
      element.open = !element.open;
      show(element, text, more);
    });
    return element;
  },
  fill(element, item) {
    element.item = item;
    element.full = [...plain(item[key])];
    show(element, element.querySelector("bdi"), element.querySelector(".more"));
  },
});

function show({ full, open = false }, text, more) {
  const long = full.length > SHOWN_CHARACTERS;
  const clipped = long && !open;
  setText(text, clipped ? full.slice(0, SHOWN_CHARACTERS).join("") + ELLIPSIS : full.join(""));
  more.hidden = !long;
  if (!long) return;
  setText(more, open ? "less" : `all ${full.length.toLocaleString()} characters`);
  more.setAttribute("aria-expanded", String(open));
}
