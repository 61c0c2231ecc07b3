"""File names that a program gave to a copy: sync services, file managers, editors and git, in many languages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

import tidings

_WORD = (
    r"(?:cop(?:y|ie|ia|ía)|cópia|còpia|kopi[ea]?|kopio|kopij[ae]|kópia|копи[яе]|копија|копія|көшірме(?:сі)?|көчүрмө(?:сү)?"
    r"|нусха(?:си)?|nusxa(?:si)?|nüsxə(?:si)?|kopya(?:sı)?|másolat(?:a)?|αντίγραφο|afrit|koopia|kopija|nuskha"
    r"|نسخة|نسخه|نقل|העתק|副本|複本|複製|拷贝|拷貝|コピー|사본|복사본|bản sao|สำเนา|प्रतिलिपि|salinan"
    r"|hasáb|хуулбар|كۆچۈرۈلگەن)"
)
# "Copy" alone begins many English titles, and so does "copie" French ones: in front, these need their preposition.
_BEFORE = (
    r"(?:cop(?:y|ie|ia)(?: \(\d+\))? (?:of|de|di|d['’]) ?|cópia de |còpia de |kopi(?:e|a)? (?:von|van|av|af|på) |kópia "
    r"|kopia |kopie |kopio |копия |копія |копија |копие на |нусха |nusxa |αντίγραφο |نسخة من |نسخه "
    r"|העתק של |副本|复制 |複製 "
    r"|bản sao của |สำเนา(?:ของ)? ?|salinan )"
)
_CONFLICT = (
    r"(?:conflict|conflit|conflito|conflitto|konflikt|конфликт|конфлікт|қайшылық|қақтығыс|çakış|ziddiyyət|modstrid|motstrid|تعارض|تضارب|冲突"
    r"|衝突|競合|충돌|ütköz|ristirii|σύγκρουση|xung đột|ขัดแย้ง|התנגשות|संघर्ष|zgodovin|konflik)"
)
_COPY = re.compile(
    # Dropbox, Nextcloud, ownCloud, Tresorit, Seafile, pCloud, Syncthing, Resilio
    rf"[(\[（][^()\[\]（）]*{_CONFLICT}|\.sync-conflict-|[_.-]conflict(?:ed)?[-_.](?=\d{{8}}|copy|version)|\bSFConflict\b"
    # Box, SugarSync, AppleDouble servers; a language before it, because "climate-conflict.en.md" is a story
    r"|(?:(?<=\.[a-z]{2})|(?<=\d{4}))[_.-]conflict(?=\.)|\(#? ?(?:name|edit|file|case)? ?(?:clash|conflict)"
    # Word, LibreOffice, editors after a crash
    r"|[(\[](?:auto-?saved|auto-?recovered|recovered|repaired|восстановлен\w{0,5}|автосохран\w{0,10}|récupéré|wiederhergestellt)[)\]]"
    r"|^auto-?recover(?:y|ed)? save of "
    # Windows, macOS, GNOME, KDE
    rf"|[ _]?[-–—]? ?(?<=[ _–—-]){_WORD}(?: ?\(?\d{{1,3}}\)?)?(?=\.)|[(（](?:another |\d+\w\w )?{_WORD}"
    rf"|(?:的副本|副本|のコピー|의 사본|көшірмесі|көчүрмөсү)(?: ?\d+)?(?=\.)| ?\(\d{{1,3}}\)(?=\.)|^{_BEFORE}"
    # OneDrive adds the computer's name
    r"|-(?-i:DESKTOP|LAPTOP|WIN|PC|MSI)-(?-i:[A-Z0-9]{4,})(?=\.)"
    r"|-(?-i:MacBook|iMac|Mac)(?:[- ](?-i:Pro|Air|mini|Studio))?(?=\.)"
    # git mergetool, patch, Subversion, editors
    r"|_(?:BACKUP|BASE|LOCAL|REMOTE)_\d+(?=\.)|\.(?:orig|rej|mine|theirs|ours|bak|backup|old|tmp|temp|save|autosave|swp)(?=\.)"
    r"|\.r\d+(?=\.)|~\d*(?=\.)|~$",
    re.IGNORECASE,
)
_LANGUAGE_END = re.compile(r"\.[a-z]{2,3}(?:-[A-Za-z]{2,8})?$")
_LANGUAGE_TAG = re.compile(r"\.[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-[A-Z]{2})?$")
_NUMBERED = re.compile(r"(?P<stem>.+?) (?P<number>\d{1,2})(?P<ending>(?:\.[^. ]{1,20}){1,2})")


def is_copy(name: str, others: Collection[str]) -> bool:
    """Whether a program made this file as a copy of another. `others` are the names in its folder.

    macOS and iCloud only add a number ("open day 2.md"), so the first file must be there too. Whatever stands between
    the language and the ending was added to a name that was whole: "open-day.en_1.md", "open-day.en-old.md".
    """
    if name.startswith("~") and name[1:] in others:
        return True
    if name.endswith(".md"):
        # "news.zh-Hant.md" beside "news.zh.md" is another language.
        signs = () if _LANGUAGE_TAG.search(name[:-3]) else re.finditer(r"[^A-Za-z0-9]", name[:-3])
        wholes = (name[: match.start()] for match in signs)
        if any(f"{whole}.md" in others and _LANGUAGE_END.search(whole) for whole in wholes):
            return True
    if match := _COPY.search(name):
        # "The hard-copy" is a title: a hyphen alone needs the original beside it.
        is_hyphen = (
            re.fullmatch(r"-\w+", match[0]) and not re.search(r"\d", match[0]) and name[match.start() - 1] != " "
        )
        is_word = is_hyphen and re.fullmatch(_WORD, match[0][1:], re.IGNORECASE)
        return not is_word or name[: match.start()] + name[match.end() :] in others
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return False
    return f"{match['stem']}{match['ending']}" in others or bool(re.search(r"\.[A-Za-z]{2,3}$", match["stem"]))


@cache
def hash_program(*folders: str) -> str:
    """Return a hash of the version of this program, and of the sizes and times of its files in these folders."""
    parts = [tidings.__version__]
    for name in folders:
        for path in sorted((Path(tidings.__file__).parent / name).rglob("*")):
            if path.suffix in (".py", ".po", ".mo"):
                status = path.stat()
                parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
