"""Tries every way round a rule and writes the page of the documentation: python tests/evasion/write_table.py"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.evasion.table import PAGE, all_ways, page, rows

if __name__ == "__main__":
    PAGE.write_text(page(asyncio.run(rows(all_ways()))))
    print(f"written: {PAGE}")
