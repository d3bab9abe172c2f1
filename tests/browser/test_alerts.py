"""Alerts on the page: they appear, are acknowledged, resolved and silenced."""

from browser.daemons import FAILURE, REQUEST
from playwright.sync_api import Page, expect
from support import Daemon


def show_alert(quick_daemon: Daemon, page: Page) -> None:
    """Show the page with an active alert."""
    page.goto(quick_daemon.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#alerts")).to_contain_text("No alert so far.")
    quick_daemon.emit([FAILURE] * 20)
    expect(page.locator(".alert[data-status=active]")).to_be_visible()


def test_alert_appears_is_announced_and_counted_in_the_title(
    quick_daemon: Daemon, page: Page
) -> None:
    show_alert(quick_daemon, page)
    expect(page.locator("#alert-news")).to_contain_text("critical alert active: High Error Rate")
    expect(page).to_have_title("(1) aegisd")
    link = page.get_by_role("link", name="1 active alert")
    link.click()
    expect(page.locator("#alerts-title")).to_be_in_viewport()


def test_acknowledged_alert_says_by_whom_and_is_no_news(quick_daemon: Daemon, page: Page) -> None:
    show_alert(quick_daemon, page)
    page.get_by_role("button", name="Acknowledge").click()
    alert = page.locator(".alert[data-status=acknowledged]")
    expect(alert).to_contain_text("acknowledged by anonymous")
    expect(page).to_have_title("aegisd")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.reload()
    expect(page.locator(".alert[data-status=acknowledged]")).to_be_visible()


def test_alert_that_no_longer_holds_becomes_the_past(quick_daemon: Daemon, page: Page) -> None:
    show_alert(quick_daemon, page)
    quick_daemon.emit(*[[REQUEST] * 400] * 3)
    expect(page.locator(".alert[data-status=resolved]")).to_be_visible()
    expect(page.locator("#alert-news")).to_contain_text("resolved")
    expect(page.get_by_role("button", name="Resolve")).to_be_hidden()


def test_silence_is_made_listed_with_its_end_and_ended(quick_daemon: Daemon, page: Page) -> None:
    show_alert(quick_daemon, page)
    page.get_by_role("button", name="Silence…").click()
    form = page.get_by_role("dialog", name="Silence")
    form.get_by_label("For").select_option("4 hours")
    form.get_by_label("Why").fill("deploy <b>")
    form.get_by_role("button", name="Silence").click()
    expect(form).to_be_hidden()
    silence = page.locator(".silences li")
    expect(silence).to_contain_text("High Error Rate until ")
    expect(silence).to_contain_text("deploy <b>")
    silence.get_by_role("button", name="End").click()
    expect(silence).to_be_hidden()


def test_alerts_buttons_work_from_the_keyboard(quick_daemon: Daemon, page: Page) -> None:
    show_alert(quick_daemon, page)
    page.get_by_role("button", name="Silence…").focus()
    page.keyboard.press("Enter")
    form = page.get_by_role("dialog", name="Silence")
    expect(form).to_be_visible()
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()
    expect(page.get_by_role("button", name="Silence…")).to_be_focused()


def test_keyboard_stays_at_an_alert_that_it_acknowledged_or_resolved(
    quick_daemon: Daemon, page: Page
) -> None:
    show_alert(quick_daemon, page)
    for action, status in (("Acknowledge", "acknowledged"), ("Resolve", "resolved")):
        page.get_by_role("button", name=action).press("Enter")
        alert = page.locator(f".alert[data-status={status}]")
        expect(alert).to_be_focused()
        expect(alert).to_contain_text(f"{status} by anonymous")


def test_keyboard_stays_at_the_alerts_when_it_ended_a_silence(
    quick_daemon: Daemon, page: Page
) -> None:
    show_alert(quick_daemon, page)
    page.get_by_role("button", name="Silence…").click()
    page.get_by_role("dialog").get_by_role("button", name="Silence").click()
    page.get_by_role("button", name="End the silence of High Error Rate").press("Enter")
    expect(page.locator("#alerts-title")).to_be_focused()
