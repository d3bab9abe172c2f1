// What moves and zooms all plots, and tells the time that the cursor is at.

import { make, setText } from "../dom.js";
import { moment } from "../format.js";
import { daemonNow } from "../panels/ages.js";
import { isAtEnd } from "./domain.js";

/** Makes the controls of the board: elements for the head of the plots. */
export function startControls(board, view) {
  const readout = make("span", { class: "readout" });
  const button = (label, sign, act) =>
    make("button", { type: "button", "aria-label": label, title: label, onclick: act }, sign);
  const later = button("Later", "›", () => board.pan(1));
  const back = make("button", { type: "button", id: "zoom-back", onclick: board.reset });
  const group = make(
    "div",
    { class: "choices", role: "group", "aria-label": "Time" },
    button("Earlier", "‹", () => board.pan(-1)),
    later,
    button("Zoom out", "−", () => board.zoom(2)),
    button("Zoom in", "+", () => board.zoom(0.5)),
  );

  function show() {
    const { from } = view.get();
    back.hidden = from === null;
    setText(back, `Back to ${board.named()}`);
    later.disabled = isAtEnd(board.domain(), daemonNow());
  }

  board.onCursor((time) => {
    const alerts = time === null ? "" : board.alertsAt(time);
    setText(readout, time === null ? "" : [moment(time * 1000), alerts].filter(Boolean).join(" · "));
  });
  view.onChange(show);
  show();
  return [readout, back, group];
}
