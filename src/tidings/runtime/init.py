"""`tidings init`: create a newsroom from the sample that is part of Tidings, or one with the user's own settings."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import tidings
from tidings.config import types
from tidings.config.file_reader import MAIN
from tidings.config.problems import split_mend
from tidings.config.yaml_text import Mapping as YamlMapping
from tidings.config.yaml_text import Scalar, read_yaml
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys

_UNIT = Path(__file__).with_name("newsroom.service")
"""The systemd unit, with fields in braces."""

_TEMPLATES = """\
Tidings ships templates for mails and pages. To change one, copy its folder, such as `digest`, from the shipped
templates to this folder and edit the copy. Tidings uses your copy then, and `tidings check` checks it.
"""

_GITIGNORE = """\
tidings.db*
keys.json
secrets.env
dkim.pem
dkim-*.pem
public/
.media/
.pictures/
preview/
rehearsal/
before-*
.restoring/
*.tar.gz
"""


_OWN = """\
# The newsroom's settings. Tidings ignores the text after a #.
# Keep the spaces at the beginning of lines: they group the settings.
# After a change, run `tidings check`. It reports each mistake with its line and how to correct it.

site:
  title: {title}
  url: https://news.example.org/         # the address of the pages and feeds: write yours
  languages: [{languages}]
  timezone: {timezone}
  address: {address}                     # the postal address that the law requires in every digest
  colour: {colour}

store: sqlite:///tidings.db              # the database of Tidings, a file in this folder

web: {{host: 127.0.0.1, port: 8080}}

sources:
  newsroom: {{type: folder, path: content}}
{topics}
# The mail server. These lines are for a test on your own machine; `tidings run --catch-mail` needs no server at all.
# Your mail service tells you its host, port and security (starttls or tls). Write the user name and the password into
# secrets.env, as SMTP_USER=... and SMTP_PASSWORD=..., never here:
#   username: {{env: SMTP_USER}}
#   password: {{env: SMTP_PASSWORD}}
mail:
  host: localhost
  port: 1025
  security: none
  return_path: bounces@example.org       # the address for bounces: write yours

# The lists that people subscribe to.
lists:
  digest:
    name: {list}
    from: {sender}                       # write your address
    public: true                         # has a subscribe page and an archive
    fallback: [{fallback}]               # the language of a story that the reader's language lacks
    default_frequency: weekly

# Tidings mails these people when it needs a person: for a held edition, a rejected story, or a mistake in a file.
notify: {{to: [comms@example.org]}}
"""

_WEEKLY = """\
# The digest for readers who chose "weekly": every Friday at nine.
title: {title}

cadence:
  weekly: fri 09:00            # day and time, in the time zone of the site

select:
  min_items: 1                 # no mail if nothing is new
  max_items: 12                # this many stories with picture and summary, the others as headlines

deliver:
  - list: digest
    frequency: weekly
    template: digest
"""

_LIST = {
    "en": "News digest",
    "ru": "Дайджест новостей",
    "kk": "Жаңалықтар дайджесті",
    "ar": "نشرة الأخبار",
    "fr": "Lettre d’information",
    "es": "Boletín de noticias",
    "zh": "新闻摘要",
}
_DIGEST = {
    "en": "Weekly digest",
    "ru": "Еженедельный дайджест",
    "kk": "Апталық дайджест",
    "ar": "النشرة الأسبوعية",
    "fr": "Lettre hebdomadaire",
    "es": "Boletín semanal",
    "zh": "每周摘要",
}
_FIRST_STORY = {
    "en": ("Our newsroom is open", "Write a file like this one for each story, and delete this one."),
    "ru": ("Наша редакция открыта", "Пишите для каждой новости такой файл, а этот удалите."),
    "kk": ("Редакциямыз ашылды", "Әр жаңалыққа осындай файл жазыңыз, ал мұны өшіріңіз."),
    "ar": ("غرفة أخبارنا مفتوحة", "اكتب ملفا مثل هذا لكل خبر، ثم احذف هذا الملف."),
    "fr": (
        "Notre salle de presse est ouverte",
        "Écrivez un fichier comme celui-ci pour chaque article, puis supprimez celui-ci.",
    ),
    "es": ("Nuestra sala de prensa está abierta", "Escriba un archivo como este para cada noticia y borre este."),
    "zh": ("我们的新闻编辑室开放了", "请为每篇新闻写一个这样的文件，然后删除本文件。"),
}
"""Title and summary of the first story, in languages for which the sample has none."""


_TOPICS = {
    "sdg-2": ("Faim « zéro »", "Hambre cero", "القضاء التام على الجوع", "零饥饿"),
    "sdg-3": ("Bonne santé et bien-être", "Salud y bienestar", "الصحة الجيدة والرفاه", "良好健康与福祉"),
    "sdg-4": ("Éducation de qualité", "Educación de calidad", "التعليم الجيد", "优质教育"),
    "sdg-5": ("Égalité entre les sexes", "Igualdad de género", "المساواة بين الجنسين", "性别平等"),
    "sdg-6": ("Eau propre et assainissement", "Agua limpia y saneamiento", "المياه النظيفة والصرف الصحي",
              "清洁饮水和卫生设施"),
    "sdg-7": ("Énergie propre et d'un coût abordable", "Energía asequible y no contaminante",
              "طاقة نظيفة وبأسعار معقولة",
              "经济适用的清洁能源"),
    "sdg-8": ("Travail décent et croissance économique", "Trabajo decente y crecimiento económico",
              "العمل اللائق ونمو الاقتصاد", "体面工作和经济增长"),
    "sdg-13": ("Lutte contre les changements climatiques", "Acción por el clima", "العمل المناخي", "气候行动"),
    "youth": ("Jeunesse", "Juventud", "الشباب", "青年"),
    "partnerships": ("Partenariats", "Alianzas", "الشراكات", "伙伴关系"),
}  # fmt: skip
"""The topics of the sample in the languages that it lacks: fr, es, ar and zh. Those of the SDGs are the UN's."""


def find_sample_newsroom() -> Path:
    """Return the folder with the sample: in the wheel, or at the root of a checkout."""
    package = Path(tidings.__file__).parent
    shipped = package / "_newsroom"
    return shipped if shipped.is_dir() else package.parents[1]


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """What a person chose for their newsroom."""

    title: str = "Our newsroom"
    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    address: str = "Write your postal address here"
    colour: str = "#0077b6"
    with_sample: bool = True

    @staticmethod
    def read(name: str, text: str) -> str | tuple[str, ...]:
        """Return the value of a setting as `tidings.yaml` takes it. Raises RefusedError that says how to write it."""
        readers: dict[str, Any] = {"languages": types.Languages, "timezone": types.Zone, "colour": types.Colour}
        given = tuple(part.strip() for part in text.split(",") if part.strip()) if name == "languages" else text.strip()
        try:
            value: str | tuple[str, ...] = TypeAdapter(readers.get(name, types.Line)).validate_python(given)
        except ValidationError as error:
            fault, mend = split_mend(error.errors()[0].get("ctx", {}).get("error", "it cannot be read"))
            mend = f" {mend[:1].upper()}{mend[1:]}{'' if mend.endswith('?') else '.'}" if mend else ""
            raise RefusedError(f"{name}: {fault}.{mend}") from None
        if not value:
            raise RefusedError(f"{name}: write it; it cannot be empty.")
        return value

    @staticmethod
    def suggest(name: str, text: str) -> str:
        """Return the value that a wrong answer most likely means, or an empty text: `Madrid` is Europe/Madrid."""
        zones = types.find_likely_zones(text) if name == "timezone" else []
        return zones[0] if len(zones) == 1 else ""


def guess_timezone() -> str:
    """Return the time zone of this machine, or UTC."""
    for path in (os.environ.get("TZ", ""), os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]):
        try:
            return str(OwnSettings.read("timezone", path)).removeprefix("Etc/")
        except RefusedError:
            continue
    return "UTC"


def check_new_folder(folder: Path) -> Path:
    """Return the absolute path of a folder that is empty or does not exist."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty. Name a folder that does not exist.")
    return folder


def init_newsroom(folder: Path, own: OwnSettings | None = None) -> Path:
    """Create a newsroom in `folder`, which must be empty or not exist. Returns its absolute path.

    Without `own` it is the whole sample.
    """
    folder = check_new_folder(folder)
    sample = find_sample_newsroom()
    folder.mkdir(parents=True, exist_ok=True)
    if own is None:
        shutil.copy(sample / MAIN, folder / MAIN)
        for part in ("content", "schedules"):
            shutil.copytree(sample / part, folder / part)
    else:
        _write_own(folder, own, sample)
    (folder / "templates").mkdir()
    (folder / "templates" / "README.md").write_text(_TEMPLATES, encoding="utf-8")
    (folder / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
    descriptor = os.open(folder / "keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TokenKeys.generate().to_json())
    (folder / "tidings.service").write_text(_make_unit(folder), encoding="utf-8")
    return folder


def _write_own(folder: Path, own: OwnSettings, sample: Path) -> None:
    """Write a small newsroom. Its sample stories are those in the languages that it has."""
    (folder / "content").mkdir()
    (folder / "schedules").mkdir()
    files = [
        path
        for path in sorted((sample / "content").glob("*.md"))
        if path.name.split(".")[-2] in own.languages and own.with_sample
    ]
    topics = ""
    if files:
        shutil.copytree(sample / "content" / "media", folder / "content" / "media")
        topics = _sample_topics(sample, own.languages)
        for path in files:
            shutil.copy(path, folder / "content" / path.name)
    covered = {path.name.split(".")[-2] for path in files}
    for language in own.languages if own.with_sample else ():
        if language not in covered and language in _FIRST_STORY:
            title, summary = _FIRST_STORY[language]
            story = f"---\ntitle: {title}\nsummary: {summary}\n---\n{summary}\n"
            (folder / "content" / f"first-story.{language}.md").write_text(story, encoding="utf-8")
    text = _OWN.format(
        title=_quoted(own.title),
        languages=", ".join(own.languages),
        timezone=own.timezone,
        address=_quoted(own.address),
        colour=_quoted(own.colour),
        topics=topics,
        list=_in_languages(_LIST, own.languages),
        sender=_quoted(f'"{own.title.replace(chr(34), chr(39))}" <news@example.org>'),
        fallback=own.languages[0],
    )
    (folder / MAIN).write_text(text, encoding="utf-8")
    weekly = _WEEKLY.format(title=_in_languages(_DIGEST, own.languages))
    (folder / "schedules" / "weekly.yaml").write_text(weekly, encoding="utf-8")


def _sample_topics(sample: Path, languages: Iterable[str]) -> str:
    """Return the topics of the sample in these languages, as YAML."""
    node, _ = read_yaml((sample / MAIN).read_text(encoding="utf-8"), MAIN)
    topics = node.get("topics") if isinstance(node, YamlMapping) else None
    lines = [
        "",
        "# The topics that readers can choose. A story names its topics by the short name on the left.",
        "topics:",
    ]
    for key, labels in topics.entries if isinstance(topics, YamlMapping) else ():
        names = (
            {name.text: text.text for name, text in labels.entries if isinstance(text, Scalar)}
            if isinstance(labels, YamlMapping)
            else {}
        )
        names |= dict(zip(("fr", "es", "ar", "zh"), _TOPICS.get(key.text, ()), strict=False))
        lines.append(f"  {key.text}: {_in_languages(names, languages)}")
    return "\n".join([*lines, ""])


def _in_languages(texts: Mapping[str, str], languages: Iterable[str]) -> str:
    """Return a map of the languages that have a text, as YAML; else the English text."""
    known = {language: texts.get(language) or texts.get(language.partition("-")[0]) for language in languages}
    parts = [f"{language}: {_quoted(text)}" for language, text in known.items() if text]
    return f"{{{', '.join(parts)}}}" if parts else _quoted(texts["en"])


def _quoted(text: str) -> str:
    """Return text as a YAML string in double quotes: JSON's strings are YAML's (YAML 1.2 §1.3)."""
    return json.dumps(text, ensure_ascii=False)


def _make_unit(folder: Path) -> str:
    """Return the systemd unit (systemd.syntax(7): a path with spaces needs quotes, and % begins a specifier)."""
    beside = Path(sys.executable).with_name("tidings")
    command = str(beside) if beside.exists() else shutil.which("tidings")
    program = _quote(command or sys.executable).replace("$", "$$") + ("" if command else " -m tidings")
    user = getpass.getuser() if os.geteuid() else "tidings"
    place = _quote(str(folder))
    return _UNIT.read_text(encoding="utf-8").format(
        folder=place, place=place.replace("$", "$$"), shown=str(folder).replace("%", "%%"), program=program, user=user
    )


def _quote(path: str) -> str:
    text = path.replace("%", "%%")
    is_plain = all(letter.isalnum() or letter in "/._+-%@" for letter in text)
    return text if is_plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
