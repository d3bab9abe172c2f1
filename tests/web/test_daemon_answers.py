"""Status, ingest and Prometheus' families as functions of figures."""

import pytest
from attrs import evolve
from web.figures import STORAGE, daemon_figures

from aegisd.intake import SourceFigures
from aegisd.web.answers.daemon import ONLY_FOR_ADMINS, ingest, status
from aegisd.web.exposition import families

SECRET = "/var/lib/aegisd/journal: No space left on device"


@pytest.mark.parametrize(
    ("errors", "shown"),
    [
        ({"append_error": SECRET}, SECRET),
        ({"sync_error": SECRET}, SECRET),
        ({"append_error": SECRET, "sync_error": "other"}, SECRET),
        ({}, None),
    ],
)
def test_journal_error_is_shown_to_admins_only(errors: dict[str, str], shown: str | None) -> None:
    figures = daemon_figures(storage=evolve(STORAGE, **errors))
    assert status(figures, None, [], admin=True)["journal"]["lastError"] == shown
    anybody = status(figures, None, [], admin=False)["journal"]["lastError"]
    assert anybody == (ONLY_FOR_ADMINS if errors else None)


def test_database_error_is_shown_in_full_to_admins_and_by_its_kind_to_others() -> None:
    storage = evolve(STORAGE, connected=False, last_error="10.0.0.1: refused", last_error_kind="X")
    figures = daemon_figures(storage=storage)
    assert status(figures, None, [], admin=True)["database"]["lastError"] == "10.0.0.1: refused"
    assert status(figures, None, [], admin=False)["database"]["lastError"] == "X"


@pytest.mark.parametrize(("oldest", "lag"), [(None, 0), (990, 10.0), (1001, 0)])
def test_lag_is_the_age_of_the_oldest_waiting_event(oldest: int | None, lag: float) -> None:
    assert status(daemon_figures(), oldest, [], admin=True)["database"]["lagSeconds"] == lag


def test_dropped_events_of_the_journal_are_those_without_room_and_those_lost_with_files() -> None:
    storage = evolve(STORAGE, no_room=2, lost_with_files=3, refused=5)
    dropped = ingest(daemon_figures(storage=storage))["dropped"]
    assert dropped == {"queue": 0, "journal": 5, "database": 5}


def test_sources_show_received_and_lost() -> None:
    figures = daemon_figures(sources=[SourceFigures("a", 10, 1)])
    assert ingest(figures)["sources"] == [{"source": "a", "received": 10, "lost": 1}]


def samples(name: str) -> dict[tuple[str, ...], float]:
    """The samples of one family, by their labels' values."""
    (family,) = [each for each in families(daemon_figures()) if each.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_refused_connections_are_exposed_for_stream_listeners_only() -> None:
    assert samples("aegisd_stream_connections_refused") == {("stream:/run/stream.sock",): 3}


def test_kernel_drops_are_exposed_for_every_listener() -> None:
    assert samples("aegisd_kernel_dropped_datagrams") == {
        ("udp:127.0.0.1:7460",): 2,
        ("stream:/run/stream.sock",): 0,
    }
