"""What the server keeps of a job's only parcel until its node is known."""

from __future__ import annotations

import pytest

from achilles.errors import ProtocolError
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver import server_jobs
from achilles.lineReceiver.server_jobs import WholeInput


def test_items_that_are_cancelled_meanwhile_are_kept_once_each_and_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_jobs, "MAX_EARLY_CANCELS", 2)
    whole = WholeInput()
    for index in (3, 5):
        whole.cancel(wire.CancelItem(1, 0, 1, index))
    assert list(whole.cancelled) == [3, 5]
    with pytest.raises(ProtocolError, match="more than 2 items"):
        whole.cancel(wire.CancelItem(1, 0, 1, 9))
