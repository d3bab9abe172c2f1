"""What the alerts tell of themselves."""

from attrs import frozen


@frozen
class AlertFigures:
    """A snapshot of the manager's counters."""

    active: int  # alerts that are not resolved
    failed_actions: int
    dropped_actions: int
