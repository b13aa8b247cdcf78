"""The notices in Welsh, at three reading levels. No native speaker has read them yet (README.md)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_proto.notices.facts import Act, Audience, Family, Thing
from schoolkeeper_proto.notices.words import Words


def _kept(days: int) -> str:
    return f"Yn cael ei gadw am {_period(days)} ar y mwyaf."


def _some_kept(days: int) -> str:
    return f"Mae rhywfaint ohono'n cael ei gadw am {_period(days)} ar y mwyaf."


def _period(days: int) -> str:
    if days >= 730 and days % 366 < 7:
        return f"{days // 366} blynedd ({days} diwrnod)"
    return f"{days} diwrnod"


def _kept_simply(days: int) -> str:
    if days <= 31:
        return f"Rydyn ni'n ei gadw am hyd at {days} diwrnod."
    if days <= 366:
        return f"Rydyn ni'n ei gadw am hyd at flwyddyn ({days} diwrnod)."
    return f"Rydyn ni'n ei gadw am rai blynyddoedd ({days} diwrnod ar y mwyaf)."


def _some_kept_simply(days: int) -> str:
    return f"Rydyn ni'n cadw rhywfaint ohono'n hirach ({_period(days)} ar y mwyaf)."


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes} munud"] if minutes else []
    if rest:
        parts.append(f"{rest} eiliad")
    return " ".join(parts)


_NAMES = {
    "other-wireless": "rhwydweithiau diwifr eraill",
    "hotspot": "creu man cychwyn (hotspot)",
    "tethering": "cysylltiad ffôn",
    "other-name-servers": "gweinyddion enwau eraill",
    "tunnel": "twneli preifat (VPN)",
    "other-proxy": "dirprwyon eraill",
    "remote-access": "rheoli o bell",
    "shared-folders": "ffolderi a rennir",
    "camera": "y camera",
    "microphone": "y meicroffon",
    "bluetooth": "Bluetooth",
    "bluetooth-discoverable": "cael eich canfod drwy Bluetooth",
    "phone": "ffonau sy'n cael eu plygio i mewn",
    "external-camera": "camerâu sy'n cael eu plygio i mewn",
    "printer": "argraffwyr",
    "illegal": "cynnwys anghyfreithlon",
    "pornography": "pornograffi",
    "violence": "trais",
    "discrimination": "gwahaniaethu",
    "extremism": "eithafiaeth",
    "self-harm": "hunan-niweidio a hunanladdiad",
    "drugs": "cyffuriau",
    "gambling": "gamblo",
    "dating": "detio",
    "malware": "maleiswedd",
    "games": "gemau",
    "vpn": "twneli preifat (VPN)",
    "anonymiser": "yr hyn sy'n cuddio i ble mae rhywun yn mynd",
    "browsers": "porwyr gwe",
    "hacking-tools": "offer i dorri i mewn i gyfrifiaduron",
    "learning": "gwefannau ar gyfer gwersi",
    "search-for-children": "chwilio wedi'i wneud i blant",
    "software-installers": "rhaglenni sy'n gosod rhaglenni eraill",
    "virtual-machines": "cyfrifiaduron o fewn y cyfrifiadur",
    "social": "rhwydweithiau cymdeithasol",
    "messaging": "negeseuon a sgwrsio",
    "streaming": "ffrydio",
    "shopping": "siopa",
    "file-sharing": "rhannu ffeiliau",
    "artificial-intelligence": "deallusrwydd artiffisial",
    "webmail": "e-bost personol",
    "video-calls": "galwadau fideo",
    "blogs": "blogiau",
    "copyright-infringement": "copïau o ffilmiau, cerddoriaeth a rhaglenni",
    "private-business": "masnachu preifat",
    "other-sites": "gwefannau nad ydynt ar restr yr ysgol",
    "every-site": "gwefannau",
}
_NOT_FOR_CHILDREN = dict.fromkeys(
    (
        "illegal",
        "pornography",
        "violence",
        "discrimination",
        "extremism",
        "self-harm",
        "drugs",
        "gambling",
        "dating",
        "malware",
        "alcohol",
        "weapons",
    ),
    "pethau sydd ddim i blant",
)

PLAIN = Words(
    title="Beth sy'n cael ei fonitro ar y ddyfais hon",
    introduction={
        Audience.PUPIL: "Eiddo'r ysgol yw'r ddyfais hon. Mae'r dudalen hon yn dweud beth sydd wedi'i gyfyngu arni, "
        "beth sy'n cael ei nodi am sut rydych chi'n ei defnyddio, pwy sy'n gallu edrych, ac am ba hyd y caiff ei "
        "gadw.",
        Audience.STAFF: "Eiddo'r ysgol yw'r ddyfais hon, ac mae wedi'i rhoi i chi ar gyfer eich gwaith. Mae'r "
        "dudalen hon yn dweud beth sydd wedi'i gyfyngu arni, beth sy'n cael ei gofnodi, pwy sy'n gallu edrych, ac am "
        "ba hyd y caiff ei gadw.",
        Audience.GUEST: "Rydych chi'n defnyddio un o ddyfeisiau'r ysgol. Mae'r dudalen hon yn dweud beth sydd wedi'i "
        "gyfyngu arni, beth sy'n cael ei gofnodi, pwy sy'n gallu edrych, ac am ba hyd y caiff ei gadw.",
        Audience.PARENT: "Mae'r ysgol wedi rhoi dyfais i'ch plentyn ei defnyddio. Mae'r dudalen hon yn dweud beth "
        "sydd wedi'i gyfyngu arni, beth sy'n cael ei gofnodi, pwy sy'n gallu edrych, ac am ba hyd y caiff ei gadw. "
        "Cewch ofyn i'r ysgol am weld yr hyn sydd wedi'i gofnodi am eich plentyn.",
    },
    restricted="Beth sydd wedi'i gyfyngu, a phryd",
    nothing_restricted="Dim byd.",
    limit="Nid oes hidlydd na rheol sy'n atal popeth. Os oes rhywbeth yn eich poeni, dywedwch wrth rywun rydych chi'n "
    "ymddiried ynddo.",
    collected="Beth sy'n cael ei gasglu",
    nothing_collected="Does dim byd am yr hyn rydych chi'n ei wneud yn cael ei gasglu.",
    always="Mae'r ddyfais hefyd yn adrodd amdani ei hun: ei bod ymlaen, ei rheolau, ac a darfwyd ar ei diogelwch.",
    not_watched="Beth nad yw'n cael ei wylio",
    never=(
        "Yr hyn sy'n cael ei deipio.",
        "Yr hyn mae'r sgrin yn ei ddangos.",
        "Testun tudalennau, negeseuon neu ddogfennau.",
        "Y meicroffon a'r camera.",
    ),
    not_checked="Beth arall mae rheolau'r ysgol yn ei ddweud, nad yw'r ddyfais hon yn ei wirio",
    kept_longer="Beth sy'n cael ei gadw'n hirach",
    longer=(
        (
            "Yr hyn mae diogelwch rhywun yn dibynnu arno: tra bo hynny'n cael ei ystyried, a chyhyd ag y mae'n rhaid "
            "i'r ysgol gadw ei chofnod."
        ),
        (
            "Yr hyn sydd ei angen ar lys, yr heddlu neu awdurdod arall: nes nad oes ei angen mwyach. Mae pwy "
            "benderfynodd hynny yn cael ei ysgrifennu."
        ),
    ),
    contacts="Pwy i'w holi",
    no_contacts="Holwch swyddfa'r ysgol.",
    urgent="Os yw rhywun mewn perygl nawr, ffoniwch 999. Gall plant ffonio Childline ar 0800 1111 unrhyw bryd.",
    source="Wedi'i wneud o fersiwn {version} o'r polisi ({hash}), {school}.",
    families={
        Family.DEVICE: "Bod y ddyfais ymlaen, a bod rhaglen yr ysgol arni yn gweithio.",
        Family.PROTECTION: "Bod rhaglen yr ysgol wedi'i hatal neu ei newid, neu fod y cloc wedi'i symud.",
        Family.SIGN_IN: "Pryd mae rhywun yn mewngofnodi neu'n allgofnodi, a phryd mae'r sgrin yn cloi.",
        Family.PROGRAMS: "Rhaglenni mae rheol gan yr ysgol amdanynt, pan gânt eu cychwyn neu eu gwrthod.",
        Family.PROGRAM_USE: "Pa raglenni oedd ar agor, fesul awr.",
        Family.MEDIA: "Ffyn cof a disgiau sy'n cael eu plygio i mewn, ac a gânt eu defnyddio. Nid beth sydd arnynt.",
        Family.SITES: "Pa fathau o wefannau a agorwyd neu a wrthodwyd, fel cyfrif.",
        Family.NETWORK: "A yw'r ddyfais yn yr ysgol.",
        Family.BYPASS: "Ymdrechion i osgoi'r hidlydd gwe.",
        Family.ISOLATION: "Pryd y cafodd y ddyfais ei thorri oddi ar y rhwydwaith, a phryd y cafodd ei gadael yn ôl.",
        Family.POSTURE: "A yw'r ddisg wedi'i hamgryptio, ac a yw'r diweddariadau, y sganiwr firysau a chlo'r sgrin "
        "mewn trefn.",
        Family.RULES: "Pa rai o reolau'r ysgol sydd mewn grym ar y ddyfais.",
        Family.AGREEMENT: "Bod y rheolau ar gyfer defnyddio'r ddyfais wedi'u dangos, a'u derbyn neu eu gohirio.",
        Family.ASKING: "Beth sy'n cael ei ofyn pan wrthodwyd rhywbeth, a'r rheswm a roddwyd.",
        Family.REPORT: "Yr hyn a ddywedir drwy 'Dweud wrth rywun'. Dim ond y bobl a ddewiswyd sy'n gallu ei ddarllen.",
        Family.IMPORTED: "Rhybuddion o hidlydd gwe neu ddarparwr monitro'r ysgol.",
        Family.OTHER: "Pethau eraill mae'r ysgol wedi'u henwi.",
    },
    acts={
        (Thing.PROGRAM, None): "Ddim yn cychwyn{time}: {what}.",
        (
            Thing.PROGRAM,
            Act.BLOCK_AND_RAISE,
        ): "Ddim yn cychwyn{time}, a dywedir wrth yr ysgol ar unwaith: {what}.",
        (Thing.PROGRAM, Act.WARN): "{what}: cewch rybudd{time}; mae'n cychwyn.",
        (Thing.MEDIUM, None): "Ni ellir defnyddio {what}{time}.",
        (Thing.MEDIUM, Act.READ_ONLY): "Gellir darllen {what}, ond nid ysgrifennu{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "Dim ond os yw wedi'i amgryptio y gellir defnyddio {what}{time}.",
        (
            Thing.MEDIUM,
            Act.ENCRYPTED_OR_READ,
        ): "Dim ond os yw wedi'i amgryptio y gellir ysgrifennu ar {what}; gellir darllen y lleill{time}.",
        (Thing.MEDIUM, Act.WARN): "{what}: cewch rybudd{time}; gellir ei ddefnyddio.",
        (Thing.SCREEN, None): "Mae'r sgrin yn cloi ar ôl {what} heb ei defnyddio{time}.",
        (Thing.SCREEN, Act.WARN): "Gofynnir i chi gloi'r sgrin ar ôl {what} heb ei defnyddio{time}.",
        (Thing.SITE, None): "Ni ellir agor{time}: {what}.",
        (
            Thing.SITE,
            Act.BLOCK_AND_RAISE,
        ): "Ni ellir agor{time}, a dywedir wrth yr ysgol am ymdrechion: {what}.",
        (Thing.SITE, Act.WARN): "{what}: cewch rybudd{time}; mae'n agor.",
        (Thing.BROWSER, None): "Mae rhai o osodiadau'r porwr wedi'u pennu{time}.",
        (Thing.NETWORK, None): "Ni chaniateir{time}: {what}.",
        (Thing.NETWORK, Act.WARN): "Cewch rybudd{time}: {what}.",
        (Thing.PERIPHERAL, None): "Wedi'i ddiffodd{time}: {what}.",
        (Thing.PERIPHERAL, Act.WARN): "Cewch rybudd{time}: {what}.",
    },
    anything={
        Thing.PROGRAM: "rhaglen mae rheol yn ei henwi",
        Thing.MEDIUM: "ffon gof neu ddisg",
        Thing.SCREEN: "peth amser",
        Thing.SITE: "gwefan mae rheol yn ei henwi",
        Thing.BROWSER: "",
        Thing.NETWORK: "ffordd i mewn i rwydwaith",
        Thing.PERIPHERAL: "rhan o'r ddyfais",
    },
    names=_NAMES,
    readers={
        "dsl": "y person diogelu dynodedig",
        "head": "y pennaeth",
        "chair": "cadeirydd y llywodraethwyr",
        "trusted-adult": "oedolyn rydych chi'n ei enwi",
        "technician": "y technegydd",
        "pupil": "chi",
        "staff": "staff",
    },
    who="Pwy sy'n gallu edrych: {readers}.",
    kept=_kept,
    some_kept=_some_kept,
    at_school_only="Dim ond yn yr ysgol, nid gartref.",
    at_times_only="Dim ond yn ystod oriau ysgol: {hours}.",
    stopped="Ddim yn cael ei gasglu ar hyn o bryd: {why}.",
    days=("Llun", "Mawrth", "Mercher", "Iau", "Gwener", "Sadwrn", "Sul"),
    times=lambda said: f" ({said})",
    day_range="{first} i {last}",
    joined=" a ",
    on_site="yn yr ysgol",
    off_site="y tu allan i'r ysgol",
    some_days="yn ystod y tymor",
    some_people="i rai pobl",
    exceptions="gydag eithriadau",
    duration=_duration,
)

JUNIOR = replace(
    PLAIN,
    title="Beth mae'r gliniadur hwn yn sylwi arno",
    introduction=dict.fromkeys(
        Audience,
        "Gliniadur yr ysgol yw hwn. Dydy rhai pethau ddim yn gweithio arno, ac mae'n ysgrifennu rhai pethau i lawr. "
        "Yma gelli di ddarllen beth, a phwy sy'n gallu edrych.",
    ),
    restricted="Beth sydd ddim yn gweithio, a phryd",
    nothing_restricted="Mae popeth yn gweithio.",
    limit="Dydy hyn ddim yn atal popeth sy'n anghywir. Os oes rhywbeth yn dy boeni, dywed wrth oedolyn rwyt ti'n "
    "ymddiried ynddo.",
    collected="Beth mae'n ei ysgrifennu i lawr",
    nothing_collected="Dydy e ddim yn ysgrifennu dim am yr hyn rwyt ti'n ei wneud.",
    always="Mae hefyd yn dweud wrth yr ysgol ei fod ymlaen, ac os yw rhywun wedi ceisio torri ei ddiogelwch.",
    not_watched="Beth dydy e byth yn edrych arno",
    never=(
        "Beth rwyt ti'n ei deipio.",
        "Beth sydd ar dy sgrin.",
        "Beth sydd yn dy negeseuon, dy dudalennau a dy waith cartref.",
        "Ti: dydy e byth yn defnyddio'r camera na'r meicroffon i wylio na gwrando.",
    ),
    not_checked="Rheolau ysgol mae'n rhaid i ti eu cadw dy hun: dydy'r gliniadur ddim yn eu gwirio",
    kept_longer="Mae rhai pethau'n cael eu cadw'n hirach",
    longer=(
        "Pethau sy'n helpu i gadw rhywun yn ddiogel.",
        "Pethau mae'r heddlu neu lys yn gofyn amdanyn nhw.",
    ),
    contacts="Pwy gelli di ei holi",
    no_contacts="Hola dy athro neu athrawes.",
    urgent="Mewn perygl? Ffonia 999. Eisiau siarad â rhywun? Childline, 0800 1111, ddydd a nos, am ddim.",
    families={
        **PLAIN.families,
        Family.DEVICE: "Bod y gliniadur ymlaen ac yn gweithio.",
        Family.PROTECTION: "Os yw rhywun wedi stopio rhaglen yr ysgol neu newid y cloc.",
        Family.PROGRAMS: "Pan fydd rhaglen o'r rhestr uchod yn cael ei chychwyn neu ei stopio.",
        Family.PROGRAM_USE: "Pa raglenni oedd ar agor, awr wrth awr.",
        Family.MEDIA: "Pan fydd ffon gof yn cael ei phlygio i mewn. Byth beth sydd arni.",
        Family.SITES: "Pa mor aml roedd rhai mathau o wefannau ar agor.",
        Family.BYPASS: "Os yw rhywun yn ceisio twyllo'r hidlydd gwe.",
        Family.ISOLATION: "Pryd cafodd y gliniadur ei dynnu oddi ar y rhyngrwyd, a phryd cafodd ddod yn ôl.",
        Family.POSTURE: "A yw'r gliniadur yn iach: diweddariadau, sganiwr firysau, clo'r sgrin.",
        Family.RULES: "Pa reolau ysgol sydd gan y gliniadur.",
        Family.AGREEMENT: "Dy fod wedi gweld y rheolau ac wedi dweud ie, neu ddim nawr.",
        Family.ASKING: "Beth rwyt ti'n gofyn amdano pan na fydd rhywbeth yn gweithio.",
        Family.REPORT: "Beth rwyt ti'n ei ddweud drwy 'Dweud wrth rywun'. Dim ond y bobl rwyt ti'n eu dewis sy'n "
        "gallu ei ddarllen.",
        Family.IMPORTED: "Rhybuddion o hidlydd gwe'r ysgol.",
    },
    acts={
        **PLAIN.acts,
        (Thing.PROGRAM, None): "Ddim yn cychwyn{time}: {what}.",
        (
            Thing.PROGRAM,
            Act.BLOCK_AND_RAISE,
        ): "Dydy {what} ddim yn cychwyn{time}, ac mae oedolyn yn yr ysgol yn cael gwybod.",
        (Thing.PROGRAM, Act.WARN): "{what}: mae'r gliniadur yn dy rybuddio{time}.",
        (Thing.MEDIUM, None): "Dydy {what} ddim yn gweithio{time}.",
        (Thing.MEDIUM, Act.READ_ONLY): "{what}: gelli di agor ffeiliau, ond nid eu cadw{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "Dim ond gyda chyfrinair mae {what} yn gweithio{time}.",
        (
            Thing.MEDIUM,
            Act.ENCRYPTED_OR_READ,
        ): "{what}: gelli di agor ffeiliau; i gadw, mae angen cyfrinair arni{time}.",
        (Thing.SCREEN, None): "Mae'r sgrin yn cloi pan na fydd neb yn ei defnyddio am {what}{time}.",
        (Thing.SITE, None): "Ddim yn agor{time}: {what}.",
        (
            Thing.SITE,
            Act.BLOCK_AND_RAISE,
        ): "Ddim yn agor{time}, ac mae oedolyn yn yr ysgol yn cael gwybod: {what}.",
    },
    anything={**PLAIN.anything, Thing.MEDIUM: "ffon gof"},
    names={**_NAMES, **_NOT_FOR_CHILDREN},
    readers={
        "dsl": "yr oedolyn sy'n cadw plant yn ddiogel",
        "head": "y pennaeth",
        "chair": "y person y mae'r pennaeth yn atebol iddo (cadeirydd y llywodraethwyr)",
        "trusted-adult": "oedolyn rwyt ti'n ei enwi",
        "technician": "y person sy'n gofalu am y cyfrifiaduron",
        "pupil": "ti",
        "staff": "athrawon",
    },
    kept=_kept_simply,
    some_kept=_some_kept_simply,
    at_school_only="Dim ond yn yr ysgol, byth gartref.",
    stopped="Ar hyn o bryd dydy e ddim yn gwneud hyn: {why}.",
)

EARLY = replace(
    JUNIOR,
    title="Gliniadur ein hysgol",
    introduction=dict.fromkeys(
        Audience, "Gliniadur yr ysgol yw hwn. Mae'n ein helpu i fod yn ddiogel. Darllen hwn gydag oedolyn."
    ),
    restricted="Beth sydd ddim yn gweithio",
    nothing_restricted="Mae'r cyfan yn gweithio.",
    limit="Dydy e ddim yn gallu atal pob peth drwg. Os gweli di un, dywed wrth oedolyn.",
    collected="Beth mae'n ei ddweud wrth yr ysgol",
    nothing_collected="Dydy e'n dweud dim amdanat ti.",
    always="Mae'n dweud wrth yr ysgol ei fod ymlaen.",
    not_watched="Beth dydy e ddim yn ei wneud",
    never=(
        "Dydy e ddim yn edrych arnat ti.",
        "Dydy e ddim yn gwrando arnat ti.",
        "Dydy e ddim yn darllen dy waith.",
    ),
    not_checked="Rheolau rwyt ti'n eu cadw dy hun",
    contacts="Gofyn i",
    no_contacts="Gofyn i dy athro neu athrawes.",
    urgent="Wyt ti'n ofnus neu wedi brifo? Dywed wrth oedolyn nawr. Ffonia 999. Neu ffonia Childline: 0800 1111.",
    families={
        **JUNIOR.families,
        Family.DEVICE: "Ei fod ymlaen.",
        Family.PROTECTION: "Os yw rhywun yn ei dorri.",
        Family.SIGN_IN: "Pryd mae rhywun yn dechrau ac yn gorffen ei ddefnyddio.",
        Family.PROGRAMS: "Os wyt ti'n trio rhywbeth sydd ddim yn gweithio yma.",
        Family.PROGRAM_USE: "Beth oedd ar agor, awr wrth awr.",
        Family.MEDIA: "Os wyt ti'n plygio ffon gof i mewn.",
        Family.SITES: "Pa fathau o wefannau oedd ar agor.",
        Family.NETWORK: "A yw yn yr ysgol neu beidio.",
        Family.BYPASS: "Os yw rhywun yn twyllo'r hidlydd gwe.",
        Family.POSTURE: "A yw'n iach.",
        Family.RULES: "Pa reolau sydd ganddo.",
        Family.ASKING: "Beth rwyt ti'n gofyn amdano.",
        Family.REPORT: "Beth rwyt ti'n ei ddweud. Dim ond y bobl rwyt ti'n eu dewis sy'n gallu ei ddarllen.",
        Family.OTHER: "Rhai pethau eraill.",
    },
    acts={
        **JUNIOR.acts,
        (Thing.PROGRAM, None): "Ddim yn agor{time}: {what}.",
        (Thing.PROGRAM, Act.BLOCK_AND_RAISE): "Ddim yn agor{time}, ac mae oedolyn yn cael gwybod: {what}.",
        (Thing.MEDIUM, Act.READ_ONLY): "{what}: gelli di edrych, ond nid cadw{time}.",
        (Thing.MEDIUM, Act.ENCRYPTED_ONLY): "Mae angen cyfrinair ar {what}{time}.",
        (
            Thing.MEDIUM,
            Act.ENCRYPTED_OR_READ,
        ): "{what}: gelli di edrych. I gadw, mae angen cyfrinair arni{time}.",
        (Thing.SCREEN, None): "Mae'r sgrin yn mynd i gysgu ar ôl {what}{time}.",
    },
    at_school_only="Dim ond yn yr ysgol.",
    readers={
        **JUNIOR.readers,
        "dsl": "yr oedolyn sy'n ein cadw'n ddiogel",
        "technician": "y person cyfrifiaduron",
    },
)
