// The labels of the axes.

import { duration, short } from "../format.js";

const format = (options) => new Intl.DateTimeFormat(undefined, options);
const withSeconds = format({ hour: "numeric", minute: "2-digit", second: "2-digit" });
const withMinutes = format({ hour: "numeric", minute: "2-digit" });
const day = format({ day: "numeric", month: "short" });
const DAY = 86_400;

/** Labels of moments (s), by how far apart they are: midnights show the date. */
export function timeLabels(moments, apart) {
  return moments.map((moment) => {
    const time = new Date(moment * 1000);
    const isMidnight = time.getHours() + time.getMinutes() + time.getSeconds() === 0;
    const style = apart >= DAY || isMidnight ? day : apart >= 60 ? withMinutes : withSeconds;
    return style.format(time);
  });
}

/** Labels of a plot's other axis, by its unit. */
export const VALUE_LABELS = {
  "/s": short,
  "%": (value) => `${short(value)} %`,
  ms: (value) => (value === 0 ? "0" : duration(value)),
};
