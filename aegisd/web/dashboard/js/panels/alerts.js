// Alerts: the active ones first, then acknowledged ones, then the past of the range.

import { byId, make, setText } from "../dom.js";
import { plain } from "../format.js";

import { daemonNow } from "./ages.js";
import { alertItem } from "./alert_item.js";
import { arrange, inWords, loaded, numbers } from "./alert_list.js";
import { keepAsking } from "./asking.js";
import { keyedChildren } from "./keyed.js";
import { furnish } from "./part.js";
import { createSilenceForm } from "./silence_form.js";
import { createSilences } from "./silences.js";
import { viewedSpan } from "./span.js";

const PAGE = 10; // of the past
const NEWEST = 50; // asked for beside what is shown: open ones are among them
const OPEN_ASKED = 1_000; // the most that the API gives
const PAUSE_MS = 60_000; // the feed brings what changes; this, what other daemons' alerts did

/** Shows alerts, and keeps the title, the header's count and the announcements. */
export function startAlerts({ view, api, feed, session }) {
  let alerts = new Map();
  let pushed = new Map(); // since the newest question
  let isKnown = false;
  let pages = 1;

  const list = make("ul", { class: "alerts" });
  const words = make("p", { class: "empty" }, "Waiting for the daemon.");
  const trouble = make("p", { class: "note", role: "status" });
  const older = make("button", { type: "button", class: "quiet all", hidden: true }, "Show older alerts");
  const news = make("p", { id: "alert-news", class: "unseen", "aria-live": "polite" });
  const silences = createSilences({ api, session }, nameOfRule);
  const openForm = createSilenceForm({ api }, () => silences.again());
  const panel = make("div", { class: "panel" }, trouble, list, words, silences.element, older);
  const note = furnish("alerts", { content: [news, panel] });
  const headerCount = make("a", { id: "alert-count", href: "#alerts-title", hidden: true });
  byId("connection-slot").append(headerCount);

  const item = alertItem({
    async act(action, { id }) {
      push((await api.post(`api/alerts/${id}/${action}`)).data);
    },
    silence: openForm,
  });
  const renderList = keyedChildren(list, { keyOf: ({ id }) => id, ...item });

  function nameOfRule(ruleId) {
    return [...alerts.values()].find((alert) => alert.ruleId === ruleId)?.ruleName ?? ruleId;
  }

  function render() {
    const mayAct = session.get().admin;
    const span = viewedSpan(view.get(), daemonNow());
    const beyondRange = pages > 1;
    const { open, past, older: isMore } = arrange(alerts, span, { most: pages * PAGE, beyondRange });
    renderList([...open, ...past].map((alert) => ({ ...alert, mayAct })));
    words.hidden = open.length + past.length > 0;
    if (isKnown) setText(words, alerts.size > 0 ? "No alert in this range." : "No alert so far.");
    older.hidden = !isMore;
    showNumbers(numbers(alerts));
  }

  function showNumbers(count) {
    const { active } = count;
    note(isKnown ? inWords(count) : "");
    headerCount.hidden = active === 0;
    setText(headerCount, `${active} active ${active === 1 ? "alert" : "alerts"}`);
    document.title = active ? `(${active}) aegisd` : "aegisd";
  }

  function push(alert) {
    pushed.set(alert.id, alert);
    alerts.set(alert.id, alert);
    isKnown = true;
    render();
  }

  const ask = keepAsking(session, {
    ask(signal) {
      pushed = new Map();
      const get = (params) => api.get("api/alerts", params, signal);
      // An open alert can be older than the newest page, so the open ones are asked for by name.
      return Promise.all([
        get({ limit: pages * PAGE + NEWEST }),
        get({ status: "active", limit: OPEN_ASKED }),
        get({ status: "acknowledged", limit: OPEN_ASKED }),
      ]);
    },
    show(answers) {
      alerts = loaded(answers.map(({ data }) => data), pushed);
      isKnown = true;
      setText(trouble, "");
      render();
    },
    fail(error) {
      setText(trouble, `Stored alerts are not known: ${error.message}. New ones still show here.`);
      words.hidden = true;
    },
    pause: () => PAUSE_MS,
  });

  older.addEventListener("click", () => {
    pages += 1;
    render();
    ask();
  });
  feed.on("alert", (alert) => {
    push(alert);
    const { severity, status, ruleName, message } = alert;
    setText(news, plain(`${severity} alert ${status}: ${ruleName}. ${message}`));
  });
  let wasLost = false;
  feed.on("state", ({ state }) => {
    if (wasLost && state !== "lost") ask(); // some may have been missed meanwhile
    wasLost = state === "lost";
  });
  session.onChange(render);
  view.onChange((now, changed) => {
    if (!["range", "from", "to"].some((key) => changed.has(key))) return;
    pages = 1;
    render();
  });
}
