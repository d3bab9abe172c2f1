// A question that is asked again and again, while somebody sees the page and is logged in.

/** Makes again(), which asks at once, and then every pause() ms.
 *
 * ask(signal) gives a promise; show(answer) and fail(error) get what the newest question came to. A
 * question that is out of date is aborted.
 */
export function keepAsking(session, { ask, show, fail, pause }) {
  let newest = null;
  let timer = 0;
  let due = false;

  async function again() {
    clearTimeout(timer);
    newest?.abort();
    due = document.hidden || !session.get().in;
    if (due) return;
    const own = new AbortController();
    newest = own;
    let wait = 0; // s
    try {
      const answer = await ask(own.signal);
      if (own === newest) show(answer);
    } catch (error) {
      if (own !== newest || error.name === "AbortError") return;
      wait = error.retryAfter ?? 0;
      fail(error);
    }
    if (own === newest) timer = setTimeout(again, Math.max(pause(), wait * 1000));
  }

  const whenDue = () => due && again();
  document.addEventListener("visibilitychange", whenDue);
  session.onChange((now) => (now.in ? whenDue() : again()));
  again();
  return again;
}
