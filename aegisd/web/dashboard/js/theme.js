// Light or dark: as the viewer's system has it, unless they chose for this page.

import { byId, make } from "./dom.js";

const KEY = "aegisd-theme";
const THEMES = ["", "light", "dark"]; // "": the system's
const NAMES = { "": "as the system", light: "light", dark: "dark" };
const SIGNS = { "": "◐", light: "○", dark: "●" };
const root = document.documentElement;

/** Starts the button that switches. */
export function startTheme() {
  const button = make("button", { type: "button", id: "theme", class: "quiet", onclick: next });
  byId("theme-slot").append(button);

  function show(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    button.textContent = SIGNS[theme];
    button.title = `Colours: ${NAMES[theme]}`;
    button.setAttribute("aria-label", button.title);
  }

  function next() {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
    remember(theme);
    show(theme);
  }

  const known = recall();
  show(THEMES.includes(known) ? known : "");
}

// A browser may refuse storage to a page: then a choice lasts until the page is left.
function recall() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function remember(theme) {
  try {
    if (theme) localStorage.setItem(KEY, theme);
    else localStorage.removeItem(KEY);
  } catch {
    // as above
  }
}
