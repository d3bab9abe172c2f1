// One alert in the list, with what an admin may do about it.

import { make, rescueFocus, setText } from "../dom.js";
import { plain } from "../format.js";
import { setAge } from "./ages.js";
import { badge, name } from "./cells.js";

const severity = badge("severity");
const ruleName = name("ruleName");
const message = name("message");

/** Gives { make, fill } of an alert's list item. act(action, alert) gives a promise; silence(alert)
 * opens a form.
 */
export function alertItem({ act, silence }) {
  return {
    make() {
      const item = make("li", { class: "alert", tabindex: "-1" });
      const parts = {
        severity: severity.make(),
        rule: ruleName.make(),
        since: make("time"),
        message: message.make(),
        state: make("span", { class: "alert-state" }, make("bdi"), make("time")),
        trouble: make("p", { class: "trouble", role: "alert" }),
        actions: make("span", { class: "actions" }),
      };
      const button = (label, onclick) => make("button", { type: "button", onclick }, label);
      const doing = (action) => async () => {
        parts.actions.childNodes.forEach((one) => (one.disabled = true));
        const trouble = await act(action, item.alert).catch((error) => error);
        parts.actions.childNodes.forEach((one) => (one.disabled = false));
        setText(parts.trouble, trouble instanceof Error ? `Not done: ${trouble.message}.` : "");
        rescueFocus(item); // not a button: the next press of the same key would do more
      };
      parts.acknowledge = button("Acknowledge", doing("acknowledge"));
      parts.actions.append(
        parts.acknowledge,
        button("Resolve", doing("resolve")),
        button("Silence…", () => silence(item.alert)),
      );
      item.append(
        make("div", { class: "alert-head" }, parts.severity, parts.rule, parts.since),
        make("div", { class: "alert-message" }, parts.message),
        make("div", { class: "alert-foot" }, parts.state, parts.actions),
        parts.trouble,
      );
      item.parts = parts;
      return item;
    },

    fill(item, alert) {
      const { parts } = item;
      item.alert = alert;
      Object.assign(item.dataset, { status: alert.status, severity: alert.severity, alert: alert.id });
      severity.fill(parts.severity, alert);
      ruleName.fill(parts.rule, alert);
      message.fill(parts.message, alert);
      setAge(parts.since, alert.triggeredAt);
      fillState(parts.state, alert);
      parts.actions.hidden = !alert.mayAct || alert.status === "resolved";
      parts.acknowledge.hidden = alert.status !== "active";
    },
  };
}

function fillState(element, { status, acknowledgedBy, acknowledgedAt, resolvedBy, resolvedAt }) {
  const [words, time] = element.children;
  const by = { acknowledged: acknowledgedBy, resolved: resolvedBy }[status];
  setText(words, plain(by ? `${status} by ${by}` : status));
  const changedAt = { acknowledged: acknowledgedAt, resolved: resolvedAt }[status] ?? null;
  time.hidden = changedAt === null;
  setAge(time, changedAt);
}
