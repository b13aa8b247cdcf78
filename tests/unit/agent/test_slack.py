"""gRPC's own threads wake when it suits the kernel while a connection stands, and punctually while none does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from schoolkeeper_agent import slack
from support.patience import eventually
from support.threads import grpc_slack

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_SYS_NICE, as the service has it"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def call() -> AsyncIterator[None]:
    """Something for gRPC to have threads for."""
    async with grpc.aio.insecure_channel("127.0.0.1:9") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/nothing/There", request_serializer=bytes)(b"")
        await eventually(lambda: bool(grpc_slack(os.getpid())), "gRPC has threads of its own")
        yield


async def test_grpcs_threads_take_it_and_give_it_back_and_ours_stay(call: None) -> None:
    before = grpc_slack(os.getpid())
    assert slack.EASED_NS not in before.values()
    mine = Path(f"/proc/{os.getpid()}/timerslack_ns")
    punctual = mine.read_text()
    assert slack.set_slack(slack.EASED_NS) >= 1
    eased = grpc_slack(os.getpid())
    assert {ns for thread, ns in eased.items() if thread in before} == {slack.EASED_NS}
    assert mine.read_text() == punctual
    slack.set_slack(slack.SYSTEMS_OWN_NS)
    assert slack.EASED_NS not in grpc_slack(os.getpid()).values()
