"""The plots: they move, zoom together, mark alerts, and the address bar holds what they show."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from browser.chromium import Complaints, MakePage
from browser.daemons import FAILURE, REQUEST, MakeDaemon, keep_address, quick_config, start
from playwright.sync_api import Page, expect
from support import Daemon

MINUTE = 60
PLOTS = "#plots .canvas, #heatmap .canvas"
MAIN_PLOTS = 5
SOMETHING = re.compile(".")
STRETCH = re.compile(r"[?&]from=.+&to=.+")
COLOURED = """
canvas => {
  const { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let coloured = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [r, g, b] = pixels.slice(i, i + 3);
    if (pixels[i + 3] && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++;
  }
  return coloured;
}
"""


def seconds_ago(seconds: float, **more: Any) -> dict[str, Any]:
    return {**REQUEST, "timestamp": time.time() - seconds, **more}


@pytest.fixture
def past(quick_daemon: Daemon) -> Daemon:
    """A daemon with an hour of history: two requests a minute, to two endpoints."""
    events = [
        seconds_ago(minute * MINUTE, path=path, duration_ms=2.0 ** (minute % 12))
        for minute in range(1, 60)
        for path in ("/users", "/orders")
    ]
    quick_daemon.emit(events)
    quick_daemon.wait_for_rows(len(events))
    return quick_daemon


def show(page: Page, daemon: Daemon, query: str = "") -> None:
    """Open the page; wait until all its plots are drawn."""
    page.goto(f"{daemon.url}/{query}")
    expect(page.locator("#plots canvas, #heatmap canvas")).to_have_count(MAIN_PLOTS)


def picture(page: Page, plot: str) -> str:
    return str(page.locator(f"{plot} canvas").first.evaluate("canvas => canvas.toDataURL()"))


def told(page: Page, plot: str) -> str:
    """What a plot says to screen readers of its newest bucket."""
    canvas = page.locator(f"#plots .{plot} .canvas")
    canvas.press("End")
    return canvas.get_attribute("aria-valuetext") or ""


def stretches(page: Page) -> set[tuple[int, int]]:
    """From where to where the plots reach (s since 1970), as each tells screen readers."""
    found = set()
    for plot in page.locator(PLOTS).all():
        plot.press("End")
        bounds = [int(plot.get_attribute(f"aria-value{end}") or "") for end in ("min", "max")]
        found.add((bounds[0], bounds[1]))
    return found


def drag(page: Page, plot: str, start: float, end: float) -> None:
    """Pull the mouse over a plot, between two shares of its width."""
    box = page.locator(f"{plot} .u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], middle, steps=5)
    page.mouse.up()


@contextmanager
def sending(daemon: Daemon, *messages: object) -> Iterator[None]:
    """Send the messages ten times a second for as long as the block lasts."""
    stop = Event()

    def send() -> None:
        while not stop.wait(0.1):
            daemon.emit(*messages)

    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(send)
        try:
            yield
        finally:
            stop.set()
        sent.result()


def test_live_plots_move_while_a_sender_runs(quick_daemon: Daemon, page: Page) -> None:
    quick_daemon.emit(REQUEST)
    show(page, quick_daemon)
    before = picture(page, ".all-rate"), picture(page, ".all-statuses")
    rate = page.locator(".all-rate .legend dd")
    expect(rate).not_to_have_text("–")
    with sending(quick_daemon, [REQUEST] * 30, [FAILURE] * 10):
        for _ in range(5):
            expect(rate).not_to_have_text(rate.text_content() or "")
        expect(page.locator(".all-statuses .legend dd").nth(3)).not_to_have_text("0/s")
    expect(page.locator(".all-latency .legend dd").first).to_have_text(re.compile("12.* ms"))
    assert picture(page, ".all-rate") != before[0]
    assert picture(page, ".all-statuses") != before[1]


def test_range_is_chosen_and_a_link_shows_the_same(
    past: Daemon, page: Page, make_page: MakePage
) -> None:
    show(page, past)
    expect(page.get_by_role("button", name="15m")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="1h", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?range=1h$"))
    page.get_by_role("button", name="/orders").click()
    expect(page.locator("#endpoint .endpoint-rate canvas")).to_be_visible()
    expect(page.locator("#endpoint-title")).to_have_text("GET /orders")

    colleague = make_page()
    colleague.goto(page.url)
    expect(colleague.locator("#endpoint .endpoint-rate canvas")).to_be_visible()
    pressed = colleague.get_by_role("button", name="1h", exact=True)
    expect(pressed).to_have_attribute("aria-pressed", "true")

    page.keyboard.press("Escape")
    expect(page.locator("#endpoint")).to_be_hidden()
    page.go_back()
    expect(page.locator("#endpoint")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("button", name="15m")).to_have_attribute("aria-pressed", "true")


def test_zoom_on_a_plot_moves_all_and_leads_back(past: Daemon, page: Page) -> None:
    show(page, past, "?range=1h")
    drag(page, ".all-errors", 0.25, 0.5)
    expect(page).to_have_url(STRETCH)
    ((low, high),) = stretches(page)
    assert 10 * MINUTE < high - low < 20 * MINUTE
    expect(page.locator("#free-range")).to_have_attribute("aria-pressed", "true")

    page.locator(".all-latency .canvas").press("+")
    ((nearer, nearest),) = stretches(page)
    assert nearest - nearer == pytest.approx((high - low) / 2, abs=2)
    page.get_by_role("button", name="Earlier").click()
    ((earlier, _),) = stretches(page)
    assert earlier < nearer

    page.locator(".all-rate .u-over").dblclick()
    expect(page).to_have_url(re.compile(r"\?range=1h$"))
    page.go_back()
    expect(page).to_have_url(STRETCH)
    page.get_by_role("button", name="Back to 1h").click()
    expect(page).to_have_url(re.compile(r"\?range=1h$"))


def test_stretch_is_chosen_by_its_ends_in_the_viewers_zone(past: Daemon, page: Page) -> None:
    show(page, past)
    page.locator("#free-range").click()
    page.get_by_label("From", exact=True).fill("2026-01-02T03:04:05")
    page.get_by_label("To (now").fill("2026-01-02T03:00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("From is a time, and lies before To.")).to_be_visible()
    page.get_by_label("To (now").fill("2026-01-02T04:04:05")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(
        re.compile("from=2026-01-02T02%3A04%3A05.*&to=2026-01-02T03%3A04%3A05")
    )
    expect(page.locator("#plots .plots-note")).to_have_text("No request in this range.")


def test_cursor_shows_the_values_of_all_plots_at_its_time(past: Daemon, page: Page) -> None:
    show(page, past, "?range=1h")
    page.locator(".all-rate .canvas").hover(position={"x": 300, "y": 60})
    readout = page.locator("#plots .readout")
    expect(readout).to_have_text(SOMETHING)
    moment = readout.text_content()
    at_mouse = page.locator("#plots .legend").all_text_contents()
    page.locator(".all-rate .canvas").press("ArrowLeft")
    expect(readout).not_to_have_text(moment or "")
    page.locator(".all-latency .canvas").press("ArrowRight")
    expect(readout).to_have_text(moment or "")
    assert page.locator("#plots .legend").all_text_contents() == at_mouse
    expect(page.locator("#heatmap .legend dd").first).to_have_text(re.compile(" – "))
    page.locator(".all-latency .canvas").press("Escape")
    expect(readout).to_have_text("")


def test_alert_is_marked_on_the_plots(quick_daemon: Daemon, page: Page) -> None:
    show(page, quick_daemon)
    quick_daemon.emit([FAILURE] * 20)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()
    page.locator(".all-rate .canvas").press("End")
    expect(page.locator("#plots .readout")).to_contain_text("■ High Error Rate (critical)")
    assert "■ High Error Rate (critical)" in told(page, "all-rate")


def test_heat_map_is_drawn_and_tells_its_cells(past: Daemon, page: Page) -> None:
    show(page, past, "?range=1h")
    heat = page.locator("#heatmap canvas").first
    expect(page.locator("#heatmap .legend dd").nth(1)).to_have_text("118")
    assert heat.evaluate(COLOURED) > 500
    expect(page.locator("#about-all-heat")).to_contain_text("118 requests took between")
    page.locator("#heatmap .canvas").press("End")
    expect(page.locator("#heatmap .legend dd").first).to_have_text(re.compile("ms – |µs – "))


def test_heat_map_takes_durations_of_microseconds(quick_daemon: Daemon, page: Page) -> None:
    quick_daemon.emit([REQUEST | {"duration_ms": ms} for ms in (0, 0.05, 2000)])
    quick_daemon.wait_for_rows(3)
    show(page, quick_daemon)
    expect(page.locator("#heatmap .legend dd").nth(1)).to_have_text("3")
    assert page.locator("#heatmap canvas").first.evaluate(COLOURED) > 0


def test_plots_follow_dark_mode_and_the_viewers_choice(past: Daemon, page: Page) -> None:
    page.emulate_media(color_scheme="light")
    show(page, past, "?from=2026-01-02T03:00:00Z&to=2026-01-02T04:00:00Z")
    light = picture(page, ".all-rate")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "light => document.querySelector('.all-rate canvas').toDataURL() !== light", arg=light
    )
    dark = picture(page, ".all-rate")
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.wait_for_function(
        "dark => document.querySelector('.all-rate canvas').toDataURL() !== dark", arg=dark
    )
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_after_a_restart_without_traffic_history_is_shown(
    past: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_CONNECTION_REFUSED|WebSocket")
    keep_address(past)
    past.stop()
    start(past)
    show(page, past, "?range=1h")
    expect(page.locator("[data-field=totalRequests]")).to_have_text("0")
    expect(page.locator("#first-event")).to_be_hidden()
    rates = page.locator(".all-rate .canvas")
    rates.press("Home")
    rates.press("PageDown")
    expect(page.locator(".all-rate .legend dd")).to_have_text("0.03/s")


def test_without_the_database_live_figures_are_plotted_and_the_page_says_so(
    make_daemon: MakeDaemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("503")
    config = quick_config() + '\n[storage]\ndsn = "postgresql://nobody@127.0.0.1:1/none"\n'
    daemon = make_daemon(config)
    daemon.start()
    daemon.emit([REQUEST] * 30)
    show_live = page.locator(".all-rate canvas")
    page.goto(daemon.url)
    expect(show_live).to_be_visible()
    expect(page.locator("#plots .plots-note")).to_contain_text("History is not to be had")
    expect(page.locator("#plots .plots-note")).to_contain_text("in memory")
    expect(page.locator(".all-rate .legend dd")).not_to_have_text("–")


def test_node_is_chosen_where_several_write(
    make_daemon: MakeDaemon, postgres: str, page: Page
) -> None:
    daemons = []
    for node, requests in (("gw-a", 30), ("gw-b <b>", 10)):
        shared = f'[storage]\ndsn = "{postgres}"\nschema = "two_nodes"\n'
        daemon = make_daemon(f'node = "{node}"\n{quick_config()}\n{shared}')
        start(daemon)
        daemon.emit([REQUEST] * requests)
        daemon.wait_for_rows(requests)
        daemons.append(daemon)
    show(page, daemons[0], "?range=1h")
    picker = page.get_by_label("Node")
    expect(picker.locator("option")).to_have_text(["All nodes", "gw-a (this one)", "gw-b <b>"])
    heat = page.locator("#heatmap .legend dd").nth(1)
    expect(heat).to_have_text("40")
    picker.select_option("gw-b <b>")
    expect(page).to_have_url(re.compile("node=gw-b"))
    expect(heat).to_have_text("10")


def test_page_fits_a_phone(past: Daemon, make_page: MakePage) -> None:
    page = make_page(viewport={"width": 360, "height": 740})
    show(page, past, "?range=1h&method=GET&path=/orders")
    expect(page.locator("#endpoint .endpoint-rate canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#endpoint")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_page_without_the_script_for_plots_says_what_to_do(
    quick_daemon: Daemon, page: Page, complaints: Complaints
) -> None:
    complaints.expect("uPlot")
    page.route("**/uPlot.iife.min.js", lambda route: route.fulfill(status=404))
    page.goto(quick_daemon.url)
    expect(page.locator("#plots .plots-note")).to_contain_text("make venv")
    expect(page.locator("[data-field=totalRequests]")).to_have_text("0")
