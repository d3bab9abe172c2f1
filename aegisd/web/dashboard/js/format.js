// Values as text, in the viewer's language and zone. "–" stands for what is not known.

const NONE = "–";

const decimals = (least, most = least) =>
  new Intl.NumberFormat(undefined, { minimumFractionDigits: least, maximumFractionDigits: most });
const [whole, tenths, hundredths, upToTwo] = [
  decimals(0),
  decimals(1),
  decimals(2),
  decimals(0, 2),
];
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

const known = (format) => (value) => (Number.isFinite(value) ? format(value) : NONE);

/** A whole number: 12,345. */
export const count = known((n) => whole.format(n));
/** A number that may be large, short: 12.3K. */
export const short = known((n) => (Math.abs(n) < 10_000 ? upToTwo : compact).format(n));
/** Something per second, without the unit. */
export const rate = known((n) => (n === 0 ? whole : n < 10 ? hundredths : n < 10_000 ? tenths : whole).format(n));
/** A share of 0 to 100, without the sign. */
export const percent = known((n) => (n === 0 || n >= 99.995 ? whole : hundredths).format(n));
/** Milliseconds, without the unit. */
export const latency = known((n) => (n < 10 ? hundredths : n < 1000 ? tenths : whole).format(n));
/** Any number, with two decimals at most. */
export const value = known((n) => upToTwo.format(n));

/** Milliseconds with the unit that suits: 850 µs, 12 ms, 1.5 s, 2 min. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return NONE;
  const [unit, size] = [["min", 60_000], ["s", 1000], ["ms", 1], ["µs", 0.001]].find(
    ([unit, size]) => ms >= size || unit === "µs",
  );
  return `${new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(ms / size)} ${unit}`;
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const dateTimeZone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat("en", { style: "narrow" });
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 0]];

/** A moment (ms since 1970) with its date, in the viewer's zone; zoned names the zone. */
export const moment = known((ms) => dateTime.format(ms));
export const zoned = known((ms) => dateTimeZone.format(ms));
/** The time of day of a moment. */
export const clock = known((ms) => timeOfDay.format(ms));

/** How long ago something was: "5m ago". Takes ms. */
export function ago(ms) {
  const seconds = Math.max(0, ms / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size);
  return relative.format(-Math.floor(seconds / (size || 1)), unit);
}

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/gu;
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** A name from outside as text that can't reorder, break or hide its surroundings.
 *
 * Control characters become their pictures (␛), bidi controls become ⟨U+202E⟩.
 */
export function plain(text) {
  return String(text ?? "")
    .replace(CONTROLS, (c) => (c < " " ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : "␡"))
    .replace(BIDI, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}
