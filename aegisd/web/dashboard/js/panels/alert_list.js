// Alerts as a value: which there are, which of them are open, and which of the past to show.

const OPEN = ["active", "acknowledged"];
const since = (alert) => Date.parse(alert.triggeredAt);

/** Alerts by id after loading lists of them; what was pushed since the question is newer. */
export function loaded(lists, pushed) {
  return new Map([...lists.flat().map((alert) => [alert.id, alert]), ...pushed]);
}

/** { open, past, older }: active alerts before acknowledged ones, then those that are over.
 *
 * Of the past, the newest that were open in the range { from, to } (ms); or, where somebody asked for
 * older ones, the newest of all. most bounds both; older says whether there are more.
 */
export function arrange(alerts, { from, to }, { most, beyondRange }) {
  const byTime = [...alerts.values()].sort((a, b) => since(b) - since(a));
  const open = OPEN.flatMap((status) => byTime.filter((alert) => alert.status === status));
  const over = byTime.filter((alert) => alert.status === "resolved");
  const inRange = over.filter((alert) => since(alert) <= to && Date.parse(alert.resolvedAt) >= from);
  const past = (beyondRange ? over : inRange).slice(0, most);
  return { open, past, older: past.length < over.length };
}

/** How many alerts are active, and how many acknowledged. */
export function numbers(alerts) {
  const number = (status) => [...alerts.values()].filter((alert) => alert.status === status).length;
  return { active: number("active"), acknowledged: number("acknowledged") };
}

/** "2 active, 1 acknowledged". */
export function inWords({ active, acknowledged }) {
  return `${active} active${acknowledged ? `, ${acknowledged} acknowledged` : ""}`;
}
