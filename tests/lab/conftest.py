"""Laptops for the tests in this folder."""

from collections.abc import Iterator

import pytest

from support.lab.available import need
from support.lab.network import LabNetwork
from support.lab.nspawn import TOOLS as NSPAWN_TOOLS
from support.lab.nspawn import Laptop
from support.lab.tree import laptop_tree


@pytest.fixture
def can_boot_laptops() -> None:
    need(tools=NSPAWN_TOOLS, built=lambda: laptop_tree().is_built, what="the laptop tree")


@pytest.fixture
def laptop(can_boot_laptops: None) -> Iterator[Laptop]:
    """A freshly booted nspawn laptop without a network."""
    with Laptop() as booted:
        yield booted


@pytest.fixture
def network(can_boot_laptops: None) -> Iterator[LabNetwork]:
    with LabNetwork() as joined:
        yield joined
