// A search field that is bound to a key of the view.

import { make } from "../dom.js";

/** Makes the field. Typing takes the last step's place in the history: not each letter is a step. */
export function searchField(view, key, label) {
  const field = make("input", {
    type: "search",
    class: "search",
    placeholder: label,
    "aria-label": label,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "200",
  });
  field.value = view.get()[key] ?? "";
  field.addEventListener("input", () =>
    view.set({ [key]: field.value.trim() || null }, { replace: true }),
  );
  view.onChange((now, changed) => {
    if (changed.has(key) && field.value.trim() !== (now[key] ?? "")) field.value = now[key] ?? "";
  });
  return field;
}
