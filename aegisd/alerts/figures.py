"""The figures of the alerts."""

from attrs import frozen


@frozen
class AlertFigures:
    """Open alerts now, and actions since the start."""

    active: int  # alerts that are open: active or acknowledged
    failed_actions: int  # that did not reach their receiver
    dropped_actions: int  # whose receiver had too many queued actions
