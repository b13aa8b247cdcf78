"""The agreements in Welsh, at three reading levels. No native speaker has read them yet (README.md)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_proto.notices.agreement_words import AgreementWords, Promise
from schoolkeeper_proto.notices.facts import Audience, Thing

PLAIN = AgreementWords(
    title={
        Audience.PUPIL: "Cytundeb defnydd derbyniol i ddisgyblion",
        Audience.STAFF: "Cytundeb defnydd derbyniol i staff",
        Audience.GUEST: "Cytundeb defnydd derbyniol i westeion ac ymwelwyr",
        Audience.PARENT: "Cytundeb defnydd derbyniol i ddisgyblion, i rieni a gofalwyr ei ddarllen",
    },
    introduction={
        Audience.PUPIL: "Dyma'r rheolau ar gyfer defnyddio dyfeisiau'r ysgol. Darllenwch nhw, holwch am unrhyw beth "
        "nad ydych yn ei ddeall, ac yna cytunwch iddyn nhw.",
        Audience.STAFF: "Dyma'r rheolau ar gyfer defnyddio dyfeisiau'r ysgol a'i rhwydwaith ar gyfer eich gwaith. "
        "Darllenwch nhw cyn defnyddio dyfais, a chytunwch iddyn nhw.",
        Audience.GUEST: "Dyma'r rheolau ar gyfer defnyddio un o ddyfeisiau'r ysgol tra byddwch yma. Darllenwch nhw cyn "
        "ei defnyddio, a chytunwch iddyn nhw.",
        Audience.PARENT: "Dyma'r rheolau mae eich plentyn yn cytuno iddyn nhw. Darllenwch nhw gyda'ch gilydd.",
    },
    who_agrees={
        Audience.PUPIL: "Yr hyn rwy'n cytuno iddo",
        Audience.STAFF: "Yr hyn rwy'n cytuno iddo",
        Audience.GUEST: "Yr hyn rwy'n cytuno iddo",
        Audience.PARENT: "Yr hyn mae fy mhlentyn yn cytuno iddo, a minnau wedi'i ddarllen",
    },
    promises={
        Promise.RULES: "Rwy'n cadw at y rheolau uchod.",
        Promise.NOT_AROUND: "Dydw i ddim yn ceisio osgoi'r hyn sydd wedi'i gyfyngu, nac yn helpu neb arall i wneud "
        "hynny.",
        Promise.WARNINGS: "Pan fydd y ddyfais yn fy rhybuddio, rwy'n aros ac yn ystyried a ddylwn i fynd ymlaen.",
        Promise.BY_MYSELF: "Rwy'n cadw at y rheolau nad yw'r ddyfais yn eu gwirio.",
        Promise.COLLECTED: "Rwyf wedi darllen beth sy'n cael ei gasglu am sut rwy'n defnyddio'r ddyfais, pwy sy'n "
        "gallu edrych, ac am ba hyd y caiff ei gadw.",
        Promise.NOTHING_COLLECTED: "Rwyf wedi darllen nad oes dim am yr hyn rwy'n ei wneud yn cael ei gasglu.",
        Promise.SPEAK_UP: "Os oes rhywbeth yn fy mhoeni neu'n mynd o'i le, rwy'n dweud wrth rywun rwy'n ymddiried "
        "ynddo. Caf wneud hynny p'un a wyf wedi cytuno i hyn ai peidio.",
    },
    things={
        Thing.PROGRAM: "Dydw i ddim yn ceisio cychwyn y rhaglenni a enwir uchod tra'u bod wedi'u cyfyngu.",
        Thing.MEDIUM: "Rwy'n defnyddio ffyn cof a disgiau fel y dywedir uchod yn unig.",
        Thing.SCREEN: "Dydw i ddim yn rhwystro'r sgrin rhag cloi.",
        Thing.SITE: "Dydw i ddim yn ceisio agor y gwefannau a enwir uchod tra'u bod wedi'u cyfyngu.",
        Thing.BROWSER: "Rwy'n gadael gosodiadau penodol y porwr fel y maen nhw.",
        Thing.NETWORK: "Dydw i ddim yn defnyddio unrhyw ffordd i mewn i rwydwaith na chaniateir uchod.",
        Thing.PERIPHERAL: "Rwy'n gadael y rhannau o'r ddyfais a enwir uchod wedi'u diffodd.",
    },
    sign=("Enw", "Llofnod", "Dyddiad"),
    sign_together=(
        "Enw'r disgybl",
        "Enw'r oedolyn a ddarllenodd hwn gydag ef neu hi",
        "Llofnod yr oedolyn",
        "Dyddiad",
    ),
    version="Cytundeb {document}, fersiwn {version}.",
)
JUNIOR = replace(
    PLAIN,
    title=dict.fromkeys(Audience, "Ein rheolau ar gyfer gliniaduron yr ysgol"),
    introduction=dict.fromkeys(
        Audience,
        "Dyma'r rheolau ar gyfer gliniaduron yr ysgol. Darllen nhw. Gofyn os oes rhywbeth nad wyt ti'n ei ddeall.",
    ),
    who_agrees=dict.fromkeys(Audience, "Beth rydw i'n ei addo"),
    promises={
        Promise.RULES: "Rydw i'n cadw'r rheolau hyn.",
        Promise.NOT_AROUND: "Dydw i ddim yn ceisio twyllo'r gliniadur, nac yn helpu eraill i wneud hynny.",
        Promise.WARNINGS: "Pan fydd y gliniadur yn fy rhybuddio, rydw i'n stopio ac yn meddwl.",
        Promise.BY_MYSELF: "Rydw i'n cadw'r rheolau dydy'r gliniadur ddim yn eu gwirio hefyd.",
        Promise.COLLECTED: "Rydw i'n gwybod beth mae'r gliniadur yn ei ysgrifennu i lawr, a phwy sy'n gallu edrych.",
        Promise.NOTHING_COLLECTED: "Rydw i'n gwybod nad yw'r gliniadur yn ysgrifennu dim am yr hyn rydw i'n ei wneud.",
        Promise.SPEAK_UP: "Os oes rhywbeth yn fy mhoeni, rydw i'n dweud wrth oedolyn rydw i'n ymddiried ynddo. Gallaf "
        "wneud hynny bob amser, hyd yn oed os nad ydw i wedi dweud ie i hyn.",
    },
    things={
        Thing.PROGRAM: "Dydw i ddim yn ceisio cychwyn rhaglenni sydd ddim yn cael eu caniatáu.",
        Thing.MEDIUM: "Rydw i'n defnyddio ffyn cof fel mae'n dweud yma yn unig.",
        Thing.SCREEN: "Rydw i'n gadael i'r sgrin gloi.",
        Thing.SITE: "Dydw i ddim yn ceisio agor gwefannau sydd ddim yn cael eu caniatáu.",
        Thing.BROWSER: "Rydw i'n gadael llonydd i osodiadau'r porwr.",
        Thing.NETWORK: "Dim ond y rhyngrwyd mae'r ysgol yn ei ganiatáu rydw i'n ei ddefnyddio.",
        Thing.PERIPHERAL: "Rydw i'n gadael beth sydd wedi'i ddiffodd wedi'i ddiffodd.",
    },
    sign=("Fy enw", "Dyddiad"),
    sign_together=("Fy enw", "Yr oedolyn a ddarllenodd hwn gyda fi", "Eu llofnod", "Dyddiad"),
    version="Dyma'r rheolau {document}, fersiwn {version}.",
)
EARLY = replace(
    JUNIOR,
    title=dict.fromkeys(Audience, "Ein rheolau gliniadur"),
    introduction=dict.fromkeys(Audience, "Darllen hwn gydag oedolyn."),
    who_agrees=dict.fromkeys(Audience, "Rydw i'n addo"),
    promises={
        Promise.RULES: "Rydw i'n cadw'r rheolau.",
        Promise.NOT_AROUND: "Dydw i ddim yn twyllo'r gliniadur.",
        Promise.WARNINGS: "Pan fydd yn fy rhybuddio, rydw i'n stopio ac yn gofyn.",
        Promise.BY_MYSELF: "Rydw i'n cadw ein rheolau eraill hefyd.",
        Promise.COLLECTED: "Rydw i'n gwybod beth mae'n ei ddweud wrth yr ysgol.",
        Promise.NOTHING_COLLECTED: "Rydw i'n gwybod nad yw'n dweud dim amdana i.",
        Promise.SPEAK_UP: "Os ydw i'n drist neu'n ofnus, rydw i'n dweud wrth oedolyn. Galla i ddweud bob amser.",
    },
    things={
        Thing.PROGRAM: "Dim ond beth gaf i rydw i'n ei agor.",
        Thing.MEDIUM: "Rydw i'n gofyn cyn plygio ffon gof i mewn.",
        Thing.SCREEN: "Rydw i'n gadael i'r sgrin fynd i gysgu.",
        Thing.SITE: "Dim ond gwefannau i fi rydw i'n edrych arnyn nhw.",
        Thing.BROWSER: "Dydw i ddim yn newid y gosodiadau.",
        Thing.NETWORK: "Rydw i'n defnyddio rhyngrwyd yr ysgol.",
        Thing.PERIPHERAL: "Rydw i'n gadael beth sydd wedi'i ddiffodd.",
    },
)
