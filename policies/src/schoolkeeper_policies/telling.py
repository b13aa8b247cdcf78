"""What people read, as a device takes it: the sections ``notice`` and ``agreement``. Pure."""

from __future__ import annotations

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import Target
from schoolkeeper_policies.model.base import WordsByReader
from schoolkeeper_proto import policy

_BAND_OF: dict[model.Profile, str] = {
    **{profile: profile.value for profile in model.Profile},
    model.Profile.DESIGNATED: "staff",
}
AGREEING = frozenset({"pupils", "staff", "guests", *(stage.value for stage in model.KeyStage)})
"""Groups of people by which a device tells who is asked to agree."""


def notice_section(notice: model.Notice, categories: tuple[model.Category, ...] = ()) -> policy.NoticeSection:
    return policy.NoticeSection(
        title=notice.title,
        introduction=notice.introduction,
        not_watched=notice.not_watched,
        contacts=notice.contacts,
        sign_in_notice=notice.sign_in_notice,
        language=notice.language,
        also=tuple(_line(line) for line in notice.also),
        categories=tuple(
            policy.CategoryWords(name=one.name, rewordings=_rewordings(one.words))
            for one in categories
            if one.words
        ),
    )


def _line(line: model.NoticeLine) -> policy.NoticeLine:
    return policy.NoticeLine(
        said=line.text,
        audiences=line.audience,
        rewordings=_rewordings(line.words),
    )


def _rewordings(words: WordsByReader) -> tuple[policy.Rewording, ...]:
    return tuple(
        policy.Rewording(level=level, language=language, said=said)
        for language, given in sorted(words.items())
        for level, said in sorted(given.items())
    )


def agreement_section(agreement: model.Agreement, target: Target) -> policy.AgreementSection:
    definition = target.definition
    profile = definition.profile if definition is not None else None
    return policy.AgreementSection(
        document=agreement.document,
        version=agreement.version,
        bands=agreement.asked,
        adult_accepts=tuple(band for band in agreement.adult_accepts if band in agreement.asked),
        again_after_days=agreement.again_after_days,
        band_of_group=_BAND_OF[profile] if profile is not None else "",
    )
