"""The latest result of each check, with since when."""

from __future__ import annotations

from schoolkeeper_proto import model
from support.detection import HOUR_MS, NOON_MS, Bench

FAIL, PASS, UNKNOWN = model.PostureResult.FAIL, model.PostureResult.PASS, model.PostureResult.UNKNOWN


def report(bench: Bench, device: int, result: model.PostureResult, hour: int, since: int = 0) -> None:
    body = model.Posture(
        check="updates",
        result=result,
        since_unix_ms=NOON_MS + since * HOUR_MS if since else 0,
        evaluated_at_unix_ms=NOON_MS + hour * HOUR_MS,
    )
    bench.event(device, body, at_ms=NOON_MS + hour * HOUR_MS, received_ms=NOON_MS + 50 * HOUR_MS)


def held(bench: Bench) -> tuple[object, float, float]:
    (row,) = bench.rows("posture")
    since, evaluated = (int(str(row[name])) - NOON_MS for name in ("since_ms", "evaluated_ms"))
    return row["result"], since / HOUR_MS, evaluated / HOUR_MS


def test_since_stays_while_the_result_stays(bench: Bench) -> None:
    device = bench.device()
    for hour in (1, 2, 3):
        report(bench, device, FAIL, hour)
    bench.run()
    assert held(bench) == ("fail", 1, 3)
    report(bench, device, UNKNOWN, 4)
    bench.run()
    assert held(bench) == ("unknown", 4, 4)


def test_what_comes_late_does_not_undo_what_is_newer(bench: Bench) -> None:
    device = bench.device()
    report(bench, device, PASS, 9)
    report(bench, device, FAIL, 2)
    bench.run()
    assert held(bench) == ("pass", 9, 9)


def test_what_the_device_knows_about_since_is_taken_but_not_from_the_future(bench: Bench) -> None:
    device = bench.device()
    report(bench, device, FAIL, 5, since=2)
    bench.run()
    assert held(bench) == ("fail", 2, 5)
    report(bench, device, PASS, 90, since=80)
    bench.run()
    assert held(bench) == ("pass", 50, 50), "received at 50: it cannot have been evaluated later"
