"""Classifies how a request ended, and whether it counts as a sample; shared by the closed and the open loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from feastra_nb.latency.recording import Recording

FAILURES_TO_GIVE_UP = 20  # first calls that all failed for a mistake of the caller's: there is nothing to measure
# What a wrong call raises. An outage (refused, timed out, unavailable) is a finding, and is measured to the end.
MISTAKES = (ValueError, TypeError, LookupError, AttributeError, NameError, ImportError, NotImplementedError)
UNANSWERED = "Unanswered"  # kind of error of a request that never came back, not even with an error
NS_PER_S = 1_000_000_000


class Mistakes:
    """Watches the first calls: when all of them fail for a mistake, the first error is to be raised."""

    def __init__(self) -> None:
        self.first: Exception | None = None  # set when all of the first calls failed
        self._seen: list[Exception] = []
        self._is_over = False

    def see(self, error: Exception | None) -> bool:
        """Take note of a call's end; True when it is time to give up."""
        if self._is_over:
            return self.first is not None
        if not isinstance(error, MISTAKES):
            self._is_over = True
            return False
        self._seen.append(error)
        if len(self._seen) >= FAILURES_TO_GIVE_UP:
            self.first, self._is_over = self._seen[0], True
        return self.first is not None


def attempt(call: Callable[[int], object], index: int) -> tuple[Exception | None, Mapping[str, int] | None]:
    """Perform the i-th request; return its error, and the parts of its time where it tells them."""
    try:
        result = call(index)
    except Exception as error:  # noqa: BLE001 - whatever a store raises is counted, by kind
        return error, None
    return None, result if isinstance(result, dict) else None


def record(
    recording: Recording,
    latency_ns: int,
    *,
    at_ns: int,
    timeout_ns: int,
    error: Exception | None,
    parts: Mapping[str, int] | None = None,
) -> None:
    """Record how a request ended; a timeout with at least the caller's timeout.

    Parameters
    ----------
    recording
        Where to.
    latency_ns, at_ns
        As for :meth:`Recording.add`.
    timeout_ns
        The timeout of the call, in nanoseconds.
    error
        What it raised.
    parts
        Durations of its parts, in nanoseconds.
    """
    if error is None:
        recording.add(latency_ns, at_ns=at_ns, parts=parts)
    elif isinstance(error, TimeoutError):
        # A server may give up earlier than the caller: the answer is still missing when the caller's time is up.
        recording.add_timeout(max(latency_ns, timeout_ns), at_ns=at_ns, name=kind_of(error))
    else:
        recording.add_error(latency_ns, at_ns=at_ns, name=kind_of(error))


def kind_of(error: Exception) -> str:
    """Return the kind by which an error is counted: what it says of itself, else its class.

    Examples
    --------
    >>> kind_of(TimeoutError("no answer"))
    'TimeoutError'
    """
    return str(getattr(error, "kind", type(error).__name__))
