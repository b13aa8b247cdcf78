"""Firewall under real nft, secure boot, the agent's files, and the filter test against real servers on loopback."""

import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.linux import filter_test
from schoolkeeper_agent.sensors.linux import posture_machine as machine
from schoolkeeper_agent.sensors.linux.filter_test import Answer
from schoolkeeper_agent.sensors.linux.posture import PostureSensor
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import FilterTest, PostureCheck, PostureSection
from support.core_playbook import bundle_of

PASS, FAIL, UNKNOWN = PostureResult.PASS, PostureResult.FAIL, PostureResult.UNKNOWN
ON, OFF = b"\x06\0\0\0\x01", b"\x06\0\0\0\0"


@pytest.mark.parametrize(
    ("variable", "efi", "expected"),
    [
        (ON, True, PASS),
        (OFF, True, FAIL),
        (None, True, UNKNOWN),
        (b"\x01", True, UNKNOWN),
        (None, False, FAIL),
    ],
)
def test_secure_boot(variable: bytes | None, efi: bool, expected: PostureResult) -> None:
    assert machine.secure_boot(variable, efi=efi).result is expected


def listed(rules: str) -> str:
    """What the kernel says of ``rules`` in a network namespace that ends with the command."""
    made = subprocess.run(
        ["unshare", "--net", "sh", "-c", "nft -f - && exec nft -j list ruleset"],
        input=rules, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if made.returncode and "not permitted" in made.stderr:
        pytest.skip(f"no packet filter in a network namespace of its own: {made.stderr.strip()[:200]}")
    assert made.returncode == 0, made.stderr
    return made.stdout


CLOSED = "chain input { type filter hook input priority 0; policy drop; ct state established accept; }\n"
OPEN = "chain input { type filter hook input priority 0; policy accept; tcp dport 23 drop; }\n"
AT_THE_END = """chain rest { ip protocol icmp accept; counter log reject; }
    chain input { type filter hook input priority 0; policy accept; ct state established accept; jump rest; }
"""
FORWARD = "chain forward { type filter hook forward priority 0; policy drop; }\n"


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed (make lab installs nftables)")
@pytest.mark.parametrize(
    ("rules", "expected", "evidence"),
    [
        ("", FAIL, "IPv4 and IPv6"),
        (f"table inet fw {{ {CLOSED} }}", PASS, ""),
        (f"table inet fw {{ {AT_THE_END} }}", PASS, ""),
        (f"table inet fw {{ {OPEN} }}", FAIL, "IPv4 and IPv6"),
        (f"table ip fw {{ {CLOSED} }}", FAIL, "by IPv6"),
        (f"table ip fw {{ {CLOSED} }}\ntable ip6 fw {{ {CLOSED} }}", PASS, ""),
        (f"table inet fw {{ {FORWARD} }}", FAIL, "IPv4 and IPv6"),
        (f"table inet schoolkeeper-isolation {{ {CLOSED} }}", FAIL, "IPv4 and IPv6"),
    ],
)
def test_the_firewall_as_the_kernel_lists_it(rules: str, expected: PostureResult, evidence: str) -> None:
    found = machine.firewall(listed(rules))
    assert (found.result, evidence in found.evidence) == (expected, True), found


@pytest.mark.parametrize(
    "said", [None, "", "{}", '{"nftables": 3}', '{"nftables": [{"chain": {"hook": "input"}}]}']
)
def test_an_answer_of_nft_that_is_none_is_unknown(said: str | None) -> None:
    assert machine.firewall(said).result is UNKNOWN


def package(root: Path) -> Path:
    (root / "usr/lib/agent").mkdir(parents=True)
    lines = []
    for name in ("usr/lib/agent/a.py", "usr/lib/agent/b.py"):
        (root / name).write_text(name)
        lines.append(f"{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}  {name}\n")
    sums = root / "var/lib/dpkg/info/schoolkeeper-agent.md5sums"
    sums.parent.mkdir(parents=True)
    sums.write_text("".join(lines))
    return root / "usr/lib/agent"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_changed_or_missing_file_of_the_agent_is_named(tmp_path: Path, anyio_backend: str) -> None:
    assert await read(tmp_path, "agent-integrity") == (
        UNKNOWN,
        "the agent was not installed from its package: there is no list to compare its files with",
    )
    folder = package(tmp_path)
    assert (await read(tmp_path, "agent-integrity"))[0] is PASS
    (folder / "a.py").write_text("something else")
    (folder / "b.py").unlink()
    result, said = await read(tmp_path, "agent-integrity")
    assert result is FAIL
    assert said == "usr/lib/agent/a.py was changed; usr/lib/agent/b.py is missing"


SHOWN = Answer(status=200, page="a page")
REFUSAL = Answer(status=200, page="Blocked by the School Filter")
REFUSED = Answer(failure="Connection refused", refused=True)
SILENT = Answer(failure="timed out")


@pytest.mark.parametrize(
    ("blocked", "control", "words", "expected"),
    [
        (REFUSAL, SHOWN, "blocked by the school", "pass"),
        (REFUSED, SHOWN, "", "pass"),
        (Answer(status=403), SHOWN, "", "pass"),
        (Answer(status=200, page="the test page"), SHOWN, "blocked by", "fail"),
        (Answer(status=200, page="the test page"), SHOWN, "", "fail"),
        # No network, a silent page, a moved page, a portal: nothing was proved.
        (REFUSED, REFUSED, "", "unknown"),
        (SILENT, SHOWN, "", "unknown"),
        (Answer(status=404), SHOWN, "", "unknown"),
        (REFUSAL, REFUSAL, "blocked by", "unknown"),
        (Answer(status=200, page="Sign in"), Answer(status=200, page="Sign in"), "", "unknown"),
        (REFUSAL, Answer(status=200, page="Blocked by the School Filter, too"), "blocked by", "unknown"),
    ],
)
def test_what_two_answers_prove(blocked: Answer, control: Answer, words: str, expected: str) -> None:
    result, evidence, because = filter_test.judge(blocked, control, words)
    assert result == expected
    assert bool(because) == (expected == "unknown")
    assert bool(evidence) == (expected != "unknown")


class School(BaseHTTPRequestHandler):
    """A web where /control answers, /blocked meets a filter and /open does not."""

    def do_GET(self) -> None:
        pages = {
            "/control": (200, b"hello"),
            "/blocked": (403, b"refused by Filter"),
            "/open": (200, b"shown"),
        }
        status, page = pages[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), School) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def read(root: Path, check: str, test: FilterTest | None = None) -> tuple[PostureResult, str]:
    section = PostureSection(checks=(PostureCheck(check=check, every_seconds=60, filter_test=test),))
    sensor = PostureSensor(Context(bundle=bundle_of(section), run_dir=root), root=root)
    found = await sensor.read(section.checks[0])
    return found.result, found.unknown_because or found.evidence


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_filter_is_tried_for_real_and_a_declaration_is_only_shown(
    tmp_path: Path, web: str, anyio_backend: str
) -> None:
    def of(path: str, words: str = "") -> FilterTest:
        return FilterTest(
            blocked_url=web + path, control_url=f"{web}/control", refusal_says=words,
            provider="Filter Ltd", declares="member of the IWF", declared_on="2026-09-01",
        )  # fmt: skip

    declared = "; declared by Filter Ltd on 2026-09-01, not verified: member of the IWF"
    assert await read(tmp_path, "content-filter", of("/blocked", "Refused BY")) == (
        PASS,
        f"the filter showed its refusal{declared}",
    )
    assert await read(tmp_path, "content-filter", of("/blocked")) == (
        PASS,
        f"refused with status 403{declared}",
    )
    result, said = await read(tmp_path, "content-filter", of("/open"))
    assert (result, said.startswith("a page that the filter must refuse was shown")) == (FAIL, True)
    result, said = await read(tmp_path, "content-filter")
    assert (result, "filter_test" in said) == (UNKNOWN, True)


def test_the_program_says_how_it_is_called() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schoolkeeper_agent.sensors.linux.filter_test"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "BLOCKED CONTROL WORDS" in done.stderr) == (2, True)
