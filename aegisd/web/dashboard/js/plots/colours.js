// The style sheets' colours for canvases, which know no variables; and the light or dark theme.

import { make } from "../dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
const known = new Map();
let probe = null;

/** A variable of the style sheets ("--line") as a colour that a canvas understands. */
export function colourOf(variable) {
  if (!known.has(variable)) {
    probe ??= document.body.appendChild(make("span", { hidden: true }));
    probe.style.color = `var(${variable})`;
    known.set(variable, getComputedStyle(probe).color);
  }
  return known.get(variable);
}

/** Whether the page is dark now. */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : dark.matches;
}

/** Calls listener() when other colours are to be drawn. */
export function onColours(listener) {
  listeners.add(listener);
}

function changed() {
  known.clear();
  for (const listener of listeners) listener();
}

dark.addEventListener("change", changed);
new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme"] });
