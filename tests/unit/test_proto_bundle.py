"""A bundle is taken whole or refused whole, with the reason."""

from __future__ import annotations

import dataclasses

import pytest

from schoolkeeper_proto import bundle, policy
from schoolkeeper_proto.codec import decode, encode

SECTIONS = (
    policy.ApplicationsSection(),
    policy.ScreenSection(text=policy.RuleText(rule_id="screen"), idle_lock_seconds=300),
    policy.NoticeSection(title="What is monitored"),
)


def built(**changes: object) -> bytes:
    arguments: dict[str, object] = {
        "school_id": "westgate.example",
        "group": "ks2-laptops",
        "version": 4,
        "compiled_at_unix_ms": 1,
        "sections": SECTIONS,
        **changes,
    }
    return bundle.build(**arguments)  # type: ignore[arg-type]


def opened(data: bytes, capabilities: frozenset[str] = frozenset()) -> bundle.OpenBundle:
    return bundle.open_bundle(
        data, school_id="westgate.example", group="ks2-laptops", capabilities=capabilities
    )


def repacked(data: bytes, change: dict[str, object]) -> bytes:
    """The same bundle with its manifest altered, honestly serialised again."""
    container = decode(policy.PolicyBundle, data)
    manifest = decode(policy.BundleManifest, container.manifest)
    changed = dataclasses.replace(manifest, **change)  # type: ignore[arg-type]
    return encode(dataclasses.replace(container, manifest=encode(changed)))


def test_what_was_built_is_what_is_opened() -> None:
    found = opened(built())
    assert found.screen == SECTIONS[1]
    assert found.notice.title == "What is monitored"
    assert found.media.rules == ()
    assert built() == built()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"school_id": "other.example"}, "of the school 'other.example'"),
        ({"group": "staff"}, "for the group 'staff'"),
        ({"required_capabilities": ("time-travel/1",)}, "cannot do time-travel/1"),
    ],
)
def test_another_place_or_an_unknown_ability_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(bundle.BundleRefused, match=reason):
        opened(built(**change))


def test_a_capability_that_is_there_is_enough() -> None:
    data = built(required_capabilities=("conditions/1",))
    assert opened(data, frozenset({"conditions/1"})).manifest.version == 4


def test_an_unknown_required_section_refuses_the_whole_and_an_optional_one_is_named() -> None:
    data = built()
    manifest = decode(policy.BundleManifest, decode(policy.PolicyBundle, data).manifest)
    future = dataclasses.replace(manifest.sections[1], version=9)
    others = (manifest.sections[0], manifest.sections[2])
    with pytest.raises(bundle.BundleRefused, match="'screen' version 9 is unknown"):
        opened(repacked(data, {"sections": (*others, future)}))
    optional = dataclasses.replace(future, required=False)
    found = opened(repacked(data, {"sections": (*others, optional)}))
    assert found.ignored_sections == ("screen",)
    assert found.screen is None


def test_a_section_that_differs_from_its_promise_is_refused() -> None:
    container = decode(policy.PolicyBundle, built())
    forged = dataclasses.replace(container.sections[0], data=container.sections[0].data + b"\x10\x01")
    with pytest.raises(bundle.BundleRefused, match="differs from what the manifest promises"):
        opened(encode(dataclasses.replace(container, sections=(forged, *container.sections[1:]))))
    with pytest.raises(bundle.BundleRefused, match="not those its manifest lists"):
        opened(encode(dataclasses.replace(container, sections=container.sections[1:])))
    with pytest.raises(bundle.BundleRefused, match="not those its manifest lists"):
        opened(encode(dataclasses.replace(container, sections=(*container.sections, container.sections[0]))))


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"x" * 100, bytes(bundle.MAX_BUNDLE_BYTES + 1)])
def test_what_is_no_bundle_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(bundle.BundleRefused, match="bundle"):
        opened(data)
