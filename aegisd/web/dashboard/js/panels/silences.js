// Silences: who is spared notices of which alerts, until when; made and ended by an admin.

import { byId, make, rescueFocus, setText } from "../dom.js";
import { moment, plain } from "../format.js";
import { daemonNow } from "./ages.js";
import { keepAsking } from "./asking.js";
import { keyedChildren } from "./keyed.js";

const PAUSE_MS = 60_000; // others make silences, too

/** Makes the list: { element, again }. nameOf(ruleId) gives a rule's name. */
export function createSilences({ api, session }, nameOf) {
  const list = make("ul", { class: "silences" });
  const trouble = make("p", { class: "trouble", role: "alert" });
  const element = make("div", { class: "silenced", hidden: true }, make("h3", {}, "Silenced"), list, trouble);
  let silences = [];

  const render = keyedChildren(list, {
    keyOf: ({ id }) => id,
    make() {
      const item = make("li");
      const end = make("button", { type: "button", class: "quiet" }, "End");
      end.addEventListener("click", () => remove(item.silence));
      item.append(make("span", {}, make("bdi"), make("span"), make("bdi")), end);
      return item;
    },
    fill(item, silence) {
      item.silence = silence;
      const [what, until, why] = item.firstChild.children;
      setText(what, plain(target(silence, nameOf)));
      setText(until, ` until ${moment(Date.parse(silence.until))}`);
      const by = silence.by ? ` (${silence.by})` : "";
      setText(why, plain((silence.comment ? ` – ${silence.comment}` : "") + by));
      item.lastChild.setAttribute("aria-label", `End the silence of ${what.textContent}`);
      item.lastChild.hidden = !session.get().admin;
    },
  });

  function show() {
    const current = silences.filter(({ until }) => Date.parse(until) > daemonNow());
    render(current);
    element.hidden = current.length === 0;
  }

  async function remove({ id }) {
    const error = await api.delete(`api/alerts/silences/${id}`).catch((error) => error);
    setText(trouble, error instanceof Error ? `Not ended: ${error.message}.` : "");
    await again();
    rescueFocus(byId("alerts-title"));
  }

  const again = keepAsking(session, {
    ask: (signal) => api.get("api/alerts/silences", {}, signal),
    show({ data }) {
      silences = data;
      show();
    },
    fail: show, // what is known of them stays
    pause: () => PAUSE_MS,
  });
  session.onChange(show);
  return { element, again };
}

function target({ ruleId, severity }, nameOf) {
  if (ruleId) return nameOf(ruleId);
  return severity ? `All ${severity} alerts` : "All alerts";
}
