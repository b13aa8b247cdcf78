"""Rules on media: by serial, product and bus; encrypted-only resolves by what the medium holds."""

import itertools

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.media_matching import MediaTable
from schoolkeeper_proto.model import DecisionKind, Medium, MediumEncryption
from schoolkeeper_proto.policy import MediaAccess, RuleMode

NOW = Circumstances(now_ms=0, place="on-site", groups=frozenset())
STICK = Medium(
    kernel_name="sdb",
    serial="S1",
    vendor_id="0951",
    product_id="1666",
    bus="usb",
    encryption=MediumEncryption.NONE,
)


def rule(
    rule_id: str, access: MediaAccess, mode: RuleMode = RuleMode.ENFORCE, **more: object
) -> policy.MediaRule:
    return policy.MediaRule(text=policy.RuleText(rule_id=rule_id, mode=mode), access=access, **more)  # type: ignore[arg-type]


def access(
    *rules: policy.MediaRule, otherwise: DecisionKind = DecisionKind.ALLOW, medium: Medium = STICK
) -> str:
    return MediaTable(policy.MediaSection(rules=rules, otherwise=otherwise)).decide(medium, NOW).access.value


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"serials": ("S1",)}, "block"), ({"serials": ("S2",)}, "allow"), ({}, "block"), ({"buses": ("usb",)}, "block"),
        ({"vendor_products": ("0951:1666",)}, "block"), ({"vendor_products": ("0951:*",)}, "block"),
        ({"buses": ("mmc",)}, "allow"), ({"serials": ("S1",), "buses": ("mmc",)}, "allow"),
        ({"serials": ("S1",), "vendor_products": ("0951:*",), "buses": ("usb",)}, "block"),
    ],
)  # fmt: skip
def test_every_list_that_is_given_must_name_the_medium(
    named: dict[str, tuple[str, ...]], expected: str
) -> None:
    assert access(rule("r", MediaAccess.BLOCK, **named)) == expected


def test_the_strictest_decides_in_every_order_and_a_school_stick_opens_a_closed_default() -> None:
    rules = [
        rule("a", MediaAccess.ALLOW, serials=("S1",)),
        rule("b", MediaAccess.READ_ONLY),
        rule("c", MediaAccess.BLOCK),
    ]
    assert {access(*order) for order in itertools.permutations(rules)} == {"block"}
    assert access(rules[0], otherwise=DecisionKind.BLOCK) == "allow"
    assert access(otherwise=DecisionKind.BLOCK) == "block"


@pytest.mark.parametrize(
    ("encryption", "expected"),
    [
        ("luks2", "allow"),
        ("bitlocker", "allow"),
        ("none", "read-only"),
        ("unknown", "block"),
        ("apfs", "block"),
    ],
)
def test_encrypted_only(encryption: str, expected: str) -> None:
    medium = Medium(kernel_name="sdb", encryption=MediumEncryption(encryption))
    only = rule("r", MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.READ_ONLY, unknown=MediaAccess.UNSPECIFIED)
    assert access(only, medium=medium) == expected


def test_a_rule_on_trial_never_changes_access_and_says_what_it_asked() -> None:
    strict = rule("t", MediaAccess.BLOCK, RuleMode.OBSERVE)
    verdict = MediaTable(policy.MediaSection(rules=(strict,))).decide(STICK, NOW)
    assert (verdict.access, verdict.asked, verdict.mode) == (MediaAccess.ALLOW, MediaAccess.BLOCK, "observe")
    loose = rule("t", MediaAccess.ALLOW, RuleMode.OBSERVE)
    assert access(loose, otherwise=DecisionKind.BLOCK) == "block"


def test_a_wrong_rule_refuses_the_table_and_says_why() -> None:
    with pytest.raises(TableMistake, match="needs an id"):
        MediaTable(policy.MediaSection(rules=(rule("", MediaAccess.BLOCK),)))
    with pytest.raises(TableMistake, match="read-only or block"):
        MediaTable(
            policy.MediaSection(rules=(rule("r", MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.ALLOW),))
        )
