// The login form, and who is logged in. Without tokens in the daemon none of it is seen.

import { byId, make, rescueFocus, setText } from "../dom.js";
import { plain } from "../format.js";

const TICK_MS = 1_000;
const AGAIN_MS = 3_000; // before the daemon is asked again who this is

/** Shows the form whenever nobody is logged in, and who is in the header. */
export function startLogin({ session }) {
  const field = make("input", {
    type: "password",
    name: "token",
    id: "token",
    autocomplete: "current-password",
    "aria-describedby": "login-trouble",
    required: true,
  });
  const trouble = make("p", { id: "login-trouble", class: "trouble", role: "alert" });
  const button = make("button", { class: "primary" }, "Log in");
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { id: "login-title" }, "Log in to aegisd"),
    make("label", { for: "token" }, "Token"),
    field,
    trouble,
    make("div", { class: "buttons" }, button),
  );
  const dialog = make("dialog", { id: "login", class: "form", "aria-labelledby": "login-title" }, form);
  document.body.append(dialog);
  const who = make("bdi", { id: "session-name" });
  const role = make("span", { id: "session-role", class: "badge", "data-tone": "none" });
  const logout = make("button", { type: "button", id: "logout", class: "quiet" }, "Log out");
  let waitUntil = 0; // too many wrong tokens: no sense in trying before

  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => show(session.get())); // a browser may close it all the same
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (Date.now() < waitUntil) return;
    button.disabled = true;
    setText(trouble, "");
    try {
      await session.login(field.value.trim()); // copied with a space around it
      field.value = "";
      rescueFocus(byId("main"));
    } catch (error) {
      waitUntil = error.status === 429 ? Date.now() + (error.retryAfter ?? 1) * 1000 : 0;
      setText(trouble, words(error));
      field.select();
    }
    tick();
  });
  logout.addEventListener("click", async () => {
    await session.logout().catch(() => {}); // the page that is loaded next shows whether it worked
    location.reload(); // what was shown is gone; the view stays in the address
  });

  function tick() {
    const seconds = Math.ceil((waitUntil - Date.now()) / 1000);
    button.disabled = seconds > 0;
    setText(button, seconds > 0 ? `Log in (in ${seconds} s)` : "Log in");
  }

  function show(now) {
    byId("session-slot").replaceChildren(...(now.authentication && now.in ? [who, role, logout] : []));
    setText(who, plain(now.name));
    setText(role, now.role ?? "");
    if (now.in) dialog.close();
    else if (now.isKnown && !dialog.open) {
      dialog.showModal();
      field.focus();
    }
  }

  session.onChange(show);
  setInterval(tick, TICK_MS);
}

/** Asks the daemon who this is, until it answers. */
export async function findOutWho(session) {
  const notice = make("p", { class: "panel notice", role: "status" });
  for (;;) {
    try {
      await session.load();
      return notice.remove();
    } catch (error) {
      setText(notice, `The daemon doesn't answer: ${error.message}. It is asked again.`);
      byId("notices").append(notice);
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function words(error) {
  if (error.status === 401) return "This token is not valid.";
  if (error.status === 429) return "Too many wrong tokens came from your address.";
  return `Not logged in: ${error.message}.`;
}
