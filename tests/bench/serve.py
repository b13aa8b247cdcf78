"""The collector as `schoolkeeper-collector run` starts it, but with 50 rules: the shipped ones and some more."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_detection import fifty_rules

from schoolkeeper_collector import bootstrap, following
from schoolkeeper_collector.config import load_settings
from schoolkeeper_collector.logging import configure


def main() -> None:
    """Serve until SIGTERM."""
    rules = fifty_rules()
    following.load_rules = lambda _pack: rules  # type: ignore[assignment]
    settings = load_settings()
    configure(settings.log_level)
    asyncio.run(bootstrap.serve(bootstrap.open_collector(settings, following.follower_of)))


if __name__ == "__main__":
    main()
