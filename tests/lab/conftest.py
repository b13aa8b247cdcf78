"""Laptops for the tests in this folder."""

from collections.abc import Iterator

import pytest

from support.lab.available import need
from support.lab.golden_state import golden_state
from support.lab.network import LabNetwork
from support.lab.nspawn import TOOLS as NSPAWN_TOOLS
from support.lab.nspawn import Laptop
from support.lab.tree import laptop_tree
from support.lab.virtual_laptop import TOOLS as VIRTUAL_TOOLS
from support.lab.virtual_laptop import LaptopsInTurn, VirtualLaptop


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


@pytest.fixture
def can_boot_virtual_laptops() -> None:
    need(tools=VIRTUAL_TOOLS, built=lambda: golden_state().is_built, what="the virtual laptop")


@pytest.fixture
def virtual_laptop() -> Iterator[VirtualLaptop]:
    """A virtual laptop, restored from its golden state."""
    need(tools=VIRTUAL_TOOLS, built=lambda: golden_state().is_built, what="the virtual laptop")
    with VirtualLaptop() as restored:
        yield restored


@pytest.fixture
def laptops(can_boot_virtual_laptops: None) -> Iterator[LaptopsInTurn]:
    """Virtual laptops as the test starts them."""
    with LaptopsInTurn() as started:
        yield started
