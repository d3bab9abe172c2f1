// The nodes that write to the database: a picker where there are several.

import { byId, make } from "../dom.js";
import { count, plain } from "../format.js";
import { keepAsking } from "../panels/asking.js";
import { rangeParams } from "../view.js";

const PAUSE_MS = 60_000;

/** Starts the picker. isOwn(node) tells whether a node (null: all) is this daemon and no other. */
export function startNodes({ view, api, session, onKnown }) {
  const select = make("select", { id: "node", "aria-label": "Node", onchange: choose });
  const slot = byId("node-slot");
  let own = null;
  let nodes = null; // names, most requests first; null while not known

  function choose() {
    view.set({ node: select.value || null });
  }

  function show() {
    const { node } = view.get();
    const names = [...new Set([...(nodes ?? []).map((one) => one.node), ...(node ? [node] : [])])];
    const counts = new Map((nodes ?? []).map((one) => [one.node, one.requestCount]));
    const options = names.map((name) => {
      const note = name === own ? " (this one)" : "";
      return make("option", { value: name, title: `${count(counts.get(name) ?? 0)} requests` }, plain(name) + note);
    });
    select.replaceChildren(make("option", { value: "" }, "All nodes"), ...options);
    select.value = node ?? "";
    if (names.length > 1 || node) slot.replaceChildren(select);
    else slot.replaceChildren();
  }

  const ask = keepAsking(session, {
    async ask(signal) {
      const [answer, status] = await Promise.all([
        api.get("api/metrics/nodes", rangeParams(view.get()), signal),
        own ?? api.get("api/status", {}, signal).then(({ data }) => data.node),
      ]);
      own = status;
      return answer.data;
    },
    show(answer) {
      nodes = answer;
      show();
      onKnown();
    },
    fail() {
      nodes ??= []; // without history there is only this daemon to show
      onKnown();
    },
    pause: () => PAUSE_MS,
  });
  view.onChange((now, changed) => {
    if (changed.has("node")) show();
    if (["range", "from", "to"].some((key) => changed.has(key))) ask();
  });
  show();

  return {
    isOwn(node) {
      if (node !== null) return node === own;
      return nodes !== null && nodes.every((one) => one.node === own);
    },
  };
}
