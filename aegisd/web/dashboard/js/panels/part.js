// The frame of a part of the page: its heading with a note beside it, and tools on the right.

import { byId, make, setText } from "../dom.js";

/** Puts tools and a note beside the heading of the section, and what it shows below.
 *
 * Gives note(text), which is said to screen readers only by way of reading there.
 */
export function furnish(id, { tools = [], content = [] }) {
  const section = byId(id);
  const heading = byId(`${id}-title`);
  const note = make("small");
  heading.append(note);
  const head = make("div", { class: "part-head" });
  heading.replaceWith(head);
  head.append(heading);
  if (tools.length > 0) head.append(make("div", { class: "part-tools" }, ...tools));
  section.append(...content);
  return (text) => setText(note, text);
}
