"""Writes the page that lists the scenarios: python tests/lab/write_scenarios.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.scenarios import PAGE, page, read_all

if __name__ == "__main__":
    PAGE.write_text(page(read_all()), encoding="utf-8")
    print(f"written: {PAGE}")
