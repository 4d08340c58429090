"""Many look while jobs run: the page stays quick, and nothing goes wrong."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from openmoment.server.service.settings import LOOPBACK
from openmoment.server.serving import bind

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serving.py"


@pytest.mark.slow
def test_ten_look_while_jobs_run(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    out = tmp_path / "found.json"
    size = ["--viewers", "10", "--jobs", "3", "--seconds", "5", "--minutes", "0.2", "--no-kills"]
    subprocess.run(
        [sys.executable, BENCHMARK, *size, "--json", out],
        check=True,
        capture_output=True,
        timeout=300,
        env=os.environ | {"OPENMOMENT_CACHE": str(tmp_path / "cache")},
    )
    found = json.loads(out.read_text())
    assert found["errors"] == []
    assert found["jobs"]["done"] == 3
    for phase in ("idle", "busy"):
        calls, median_ms, *_ = found[phase]["all page calls"]
        assert calls > 40
        assert median_ms < 200, found[phase]


def test_answers_are_not_held_back() -> None:
    """Nagle's algorithm makes each answer on a kept connection wait 40 ms."""

    async def is_sent_at_once() -> int:
        heard = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(
            lambda reader, writer: heard.set_result(writer), sock=listener
        )
        _, mine = await asyncio.open_connection(*listener.getsockname())
        theirs = await heard
        answer = theirs.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for each in (mine, theirs):
            each.close()
            await each.wait_closed()
        server.close()
        return answer

    with bind(LOOPBACK, 0) as listener:
        assert asyncio.run(is_sent_at_once())
