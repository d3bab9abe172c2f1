// Small helpers around the DOM. Text reaches it by textContent only: names, paths and messages are
// whatever a client of the gateway chose to send.

export const byId = (id) => document.getElementById(id);

/** Makes an element. Attributes: on… are listeners, true and false switch, null leaves out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Sets an element's text where it differs: an equal text costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Focuses an element where the focus was lost: what had it is hidden, disabled or gone. */
export function rescueFocus(element) {
  const { activeElement, body } = element.ownerDocument;
  if (activeElement === null || activeElement === body) element.focus({ preventScroll: true });
}

/** Gathers calls into one, before the next frame is drawn; while the page is hidden, until it shows. */
export function eachFrame(draw) {
  let due = false;
  const run = () => {
    due = false;
    draw();
  };
  const plan = () => due && !document.hidden && requestAnimationFrame(() => due && run());
  document.addEventListener("visibilitychange", plan);
  return () => {
    if (due) return;
    due = true;
    plan();
  };
}
