// The form that makes a silence.

import { make, setText } from "../dom.js";
import { plain } from "../format.js";
import { daemonNow } from "./ages.js";

const HOUR_MS = 3_600_000;
const DURATIONS = [
  ["30 minutes", HOUR_MS / 2],
  ["1 hour", HOUR_MS],
  ["4 hours", 4 * HOUR_MS],
  ["1 day", 24 * HOUR_MS],
  ["1 week", 168 * HOUR_MS],
];
const PROPOSED_MS = HOUR_MS;
const COMMENT_CHARACTERS = 200;

/** Makes open(alert), which shows the form for an alert; made() is called after a silence was made. */
export function createSilenceForm({ api }, made) {
  const what = make("select", { name: "what" });
  const options = DURATIONS.map(([label, ms]) => make("option", { value: ms, selected: ms === PROPOSED_MS }, label));
  const duration = make("select", { name: "duration" }, ...options);
  const comment = make("input", { name: "comment", maxlength: COMMENT_CHARACTERS, autocomplete: "off" });
  const trouble = make("p", { class: "trouble", role: "alert" });
  const cancel = make("button", { type: "button" }, "Cancel");
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { id: "silence-title" }, "Silence"),
    make("p", { class: "hint" }, "Alerts still show here and are stored; only their notices are held back."),
    make("label", {}, "What ", what),
    make("label", {}, "For ", duration),
    make("label", {}, "Why ", comment),
    trouble,
    make("div", { class: "buttons" }, cancel, make("button", { class: "primary" }, "Silence")),
  );
  const dialog = make("dialog", { class: "form", "aria-labelledby": "silence-title" }, form);
  document.body.append(dialog);

  cancel.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const until = new Date(daemonNow() + Number(duration.value)).toISOString();
    const silence = { ...JSON.parse(what.value), until };
    if (comment.value.trim()) silence.comment = comment.value.trim();
    try {
      await api.post("api/alerts/silences", silence);
      dialog.close();
      made();
    } catch (error) {
      setText(trouble, `Not silenced: ${error.message}.`);
    }
  });

  return function open({ ruleId, ruleName, severity }) {
    const choice = (label, value) => make("option", { value: JSON.stringify(value) }, label);
    what.replaceChildren(
      choice(`Rule “${plain(ruleName)}”`, { ruleId }),
      choice(`All ${severity} alerts`, { severity }),
      choice("All alerts", {}),
    );
    comment.value = "";
    setText(trouble, "");
    dialog.showModal();
  };
}
