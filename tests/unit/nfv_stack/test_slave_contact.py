"""Since when a slave stack does not answer."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from timekeeping import FakeClock


def test_the_first_silence_counts_and_any_answer_ends_it() -> None:
    answers: list[int | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status = answers.pop(0)
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(status, json={"instances": 1})

    clock = FakeClock()
    began = clock.now()
    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="https://dc-1")
    slave = SlaveClient("dc-1", http, clock)
    assert slave.contact.heard_at is slave.contact.lost_at is None

    answers += [200, None, None, 404]
    assert slave.capacity().instances == 1
    for _ in range(2):
        clock.advance(10)
        with pytest.raises(SlaveUnreachableError):
            slave.capacity()
    assert slave.contact.heard_at == began
    assert slave.contact.lost_at == began + timedelta(seconds=10)
    with pytest.raises(SlaveRefusedError):
        slave.capacity()
    assert slave.contact.heard_at == began + timedelta(seconds=20)
    assert slave.contact.lost_at is None
