"""Recognise front-matter keys that look like a moment of publishing, embargo or expiry under another name.

Such a key would be kept as a key of the newsroom's own, and the story would be out at once. In doubt the story waits:
`publish_at`, `embargoUntil` and `дата_публикации` set it aside, `publisher` and `release_notes` do not.
"""

from __future__ import annotations

import re
import unicodedata

_CAMEL = re.compile(r"(?<=[a-zà-ÿа-я])(?=[A-ZÀ-ÞА-Я])")
_WORD = re.compile(r"[^\W\d_]+")
_DATE = re.compile(
    r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\b\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b|\d{4}\s?年|^\d{10}$"
    r"|\b\d{1,2}(?:st|nd|rd|th|\.)? [^\W\d]{3,12},? \d{4}\b|\b[^\W\d]{3,12} \d{1,2},? \d{4}\b"
)

EMBARGO = ("embarg", "эмбарго", "sperrfrist", "sperrdatum", "ембарго", "حظر", "禁发", "解禁", "禁止", "엠바고")
EXPIRY = (
    "expir", "unpublish", "depubl", "sunset", "истека", "истеч", "просроч", "ablauf", "ablaeuft", "läuft", "caduc",
    "venc", "scad", "verloop", "dépubl", "périm", "verfall", "verwijder", "retire", "verval", "wygas", "utgår",
    "мерзім", "انتهاء", "过期", "到期", "期限", "失效", "结束", "終了", "下线", "만료",
)  # fmt: skip
PUBLISH = (
    "publi", "releas", "launch", "schedul", "опубл", "публик", "выпус", "выход", "жария", "шыға", "публік", "veröff",
    "veroeff", "erschein", "freigabe", "parution", "diffus", "lanzam", "pubblic", "uscita", "lançam", "yayın", "yayin",
    "yayım", "yayim", "opublik", "announce", "unveil", "релиз", "шыққ", "шығар", "zveřejn", "zverejn", "vydán",
    "vydani", "julkais", "udgiv", "δημοσί", "nashr", "terbit", "đăng", "เผยแพร", "إصدار", "انتشار", "פרסום", "परकश",
    "출시", "発表", "発行", "نشر", "发布", "發布", "发表", "上线", "公開", "公开", "掲載", "공개", "게시",
)  # fmt: skip
"""Beginnings of words; Chinese, Japanese, Korean, Arabic, Thai and Hindi ones anywhere, without their vowel signs."""
SHOWN = {
    "pub", "pubs", "live", "online", "post", "posted", "send", "sent", "issue", "issued", "show", "shown", "display",
    "visible", "available", "availability", "active", "activate", "appear", "appears", "effective", "air", "go",
    "valid", "hold", "held", "wait", "hide", "hidden", "remove", "delete", "archive", "takedown", "draft", "timed",
    "news", "story", "article", "item", "page", "content", "newsletter", "mail", "future", "offline", "removed",
    "removal", "archived", "действует", "действия", "доступно", "показать", "показывать", "удалить", "выйти", "gueltig",
    "gültig", "valide", "vigente",
}  # fmt: skip
"""Words that are about publishing only beside a word of time."""
TIME = {
    "at", "on", "date", "dates", "datetime", "time", "day", "when", "until", "till", "from", "after", "before", "since",
    "timestamp", "ts", "moment", "am", "ab", "bis", "datum", "zeit", "zeitpunkt", "tag", "le", "jour", "heure",
    "partir", "jusqu", "fecha", "hora", "el", "desde", "hasta", "data", "dal", "fino", "dnia", "od", "do", "tarih",
    "tarihi", "дата", "даты", "время", "до", "с", "со", "после", "когда", "күні", "уақыты", "дейін", "кейін", "تاريخ",
}  # fmt: skip
_LATE = {
    "until", "till", "bis", "hasta", "jusqu", "fino", "до", "дейін", "удалить", "offline", "removed", "removal",
    "archived", "hide", "hidden", "remove", "delete", "archive",
}  # fmt: skip
_JOINED = re.compile(
    r"(?:(?:publish|publishing|published|publication|pub|release|released|launch|live|golive|post|send|visible|available"
    r"|valid|show|hold|schedule|scheduled|active|start|starts|begin|end|ends)"
    r"(?:date|datetime|time|at|on|from|after|before|until|till)"
    r"|(?:date|time)(?:of)?(?:published|publish|publication|release|released|launch)|golive|notbefore|notafter|pubdate)"
)
_EVENT = {"start": "starts", "starts": "starts", "begin": "starts", "begins": "starts", "end": "ends", "ends": "ends"}
_HIDDEN_STATES = {
    "draft", "unpublished", "embargoed", "scheduled", "private", "hidden", "черновик", "brouillon", "pending", "review",
    "in review", "in-review", "in progress", "in-progress", "archived", "inactive", "wip", "todo", "idea", "planned",
    "trash", "future", "auto-draft", "on hold", "members", "paid", "internal", "restricted", "password", "مسودة",
    "entwurf", "borrador", "rascunho", "taslak", "на проверке", "草稿",
}  # fmt: skip
_KEPT_BACK = {
    "draft", "isdraft", "hidden", "private", "unlisted", "headless", "internal", "confidential", "wip", "unpublished",
    "nopublish", "eleventyexcludefromcollections", "черновик", "brouillon",
}  # fmt: skip
"""Keys that keep a page back if they are true, and below those that do if they are false."""
_SHOWN_IF_TRUE = {"publish", "published", "public", "visible", "live", "listed", "permalink", "dgpublish", "render"}
_STATE = {"status", "state", "workflow", "visibility", "статус"}


def find_meant_key(key: str, value: str) -> str | None:
    """Return the key that was probably meant, or None if this key is plainly something else."""
    text = unicodedata.normalize("NFKC", key)
    words = [word.lower() for word in _WORD.findall(_CAMEL.sub("_", text))]
    joined = "".join(words)
    is_true = value.strip().lower() in ("true", "yes", "on", "1", "да", "oui")
    is_false = value.strip().lower() in ("false", "no", "off", "0", "never", "нет", "non")
    has_date = _DATE.search(value.strip()) is not None
    if _begins(words, joined, EMBARGO):
        return "embargo"
    if _begins(words, joined, EXPIRY):
        return "expires"
    is_joined = len(words) == 1 and _JOINED.fullmatch(joined) is not None
    has_time = is_joined or any(word in TIME for word in words) or _has_ideograph_of_time(joined)
    if words[:2] in (["not", "before"], ["hold", "until"], ["wait", "until"]) or joined in ("notbefore", "holduntil"):
        return "embargo"
    is_end = (
        has_date
        and words[-1:] in (["to"], ["through"])
        and words[0] in ("valid", "visible", "available", "display", "show")
    )
    if words[:2] == ["not", "after"] or joined in ("notafter", "bestbefore", "useby", "срокдействия") or is_end:
        return "expires"
    if words[:2] == ["go", "live"] or joined == "golive":
        return "published"
    for word in words:
        if word in _EVENT and (has_time or has_date):
            return _EVENT[word]
    if is_joined and joined.startswith(("start", "begin", "end")):
        return "ends" if joined.startswith("end") else "starts"
    is_publishing = is_joined or _begins(words, joined, PUBLISH)
    is_shown = is_publishing or not SHOWN.isdisjoint(words)
    if (is_shown and has_time) or (has_date and (is_publishing or (is_shown and len(words) == 1))):
        is_late = not _LATE.isdisjoint(words) or joined.endswith(("until", "till"))
        return "expires" if is_late else "published"
    if has_date and words and all(word in TIME for word in words):
        return "published" if _LATE.isdisjoint(words) else "expires"
    if joined in (_KEPT_BACK if is_true else _SHOWN_IF_TRUE if is_false else ()):
        return "draft"
    if not _STATE.isdisjoint(words) and value.strip().lower() in _HIDDEN_STATES:
        return "draft"
    return None


def _begins(words: list[str], joined: str, stems: tuple[str, ...]) -> bool:
    """Whether a word begins with a stem. An embargo, and scripts without spaces, count anywhere."""
    return any(
        stem in joined if stems is EMBARGO or ord(stem[0]) > 0x5FF else any(word.startswith(stem) for word in words)
        for stem in stems
    )


def _has_ideograph_of_time(joined: str) -> bool:
    return any(sign in joined for sign in ("日期", "日時", "日时", "时间", "時間", "날짜", "시간", "تاريخ"))
