"""Decides what receivers hear of an alert, and what a silence holds back. Pure.

A notice is due in these cases:

| alert        | a notice is due                                                          |
| ------------ | ------------------------------------------------------------------------ |
| active       | when it is triggered or repeated, or where one was held back             |
| acknowledged | never: somebody cares for it                                             |
| resolved     | when it is resolved, or where one was held back; if receivers believe it |
|              | open (``State.told``)                                                    |

So nobody hears of a reopening, nor of the resolve of an alert that is not known to be open. A
silence holds notices back. When it is over, receivers hear how the alert is then, once.
"""

from collections.abc import Callable

from attrs import evolve

from aegisd.alerts.alert import ACKNOWLEDGED, RESOLVED, Alert
from aegisd.alerts.lifecycle import Change, State

_TOLD = (Change.TRIGGERED, Change.REPEATED)


def tell(
    state: State, change: Change | None, is_silenced: Callable[[Alert], bool]
) -> tuple[State, list[Alert]]:
    """The alerts that receivers hear of after a check, in order, and the state after that.

    ``state`` is the one after the change.
    """
    due = _is_due(state, change)
    if not (due or state.withheld or state.withheld_end):
        return state, []
    if is_silenced(state.alert):
        return (evolve(state, withheld=True) if due else state), []
    told = state.alert.status != RESOLVED if due else state.told
    notices = [*([state.withheld_end] if state.withheld_end else []), *([state.alert] * due)]
    return evolve(state, told=told, withheld=False, withheld_end=None), notices


def _is_due(state: State, change: Change | None) -> bool:
    if state.alert.status == ACKNOWLEDGED:
        return False
    if state.alert.status == RESOLVED:
        return state.told and (state.withheld or change is Change.RESOLVED)
    return state.withheld or change in _TOLD
