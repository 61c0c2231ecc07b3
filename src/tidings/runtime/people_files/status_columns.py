"""Columns that say who has left, in files of any tool and in several languages.

Such a column is understood, or the file is refused with a question: nobody who has left elsewhere is added because
nobody read the column. `Status`, `State` and the like hold words, the others hold yes, no or a date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from functools import lru_cache

from tidings.model.dates import parse_moment
from tidings.model.errors import InputError
from tidings.runtime.people_files.person_record import RecordState


def _plain(text: str) -> str:
    """Without accents and other marks: `désabonné` is `desabonne`, and `й` is `и`."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) != "Mn")


def _pattern(text: str) -> re.Pattern[str]:
    """Compile words separated by spaces into one pattern that matches any of them, in a text from `fold_value`."""
    return re.compile("|".join(_plain(text).split()))


_STATE_COLUMN = _pattern(
    "status statut статус ^state$ ^etat$ ^estado$ ^stato$ ^zustand$ ^durum$ ^состояние$ ^күйі$ мәртебе ^الحالة$ ^حالة$"
    " 状态 狀態 状態 ステータス ^situacao$ ^email(?:availability|deliverability)$ ^deliverability$"
)
_BLOCKED = _pattern(
    "(?<!soft)bounce ^clean unreachable undeliverable invalid quarantin ^onhold$"
    " unzustellbar недоступ недоставл 退信 エラー"
)
_LEFT = _pattern(
    "unsub optout optedout optsout remov delet cancel revok withdr donot dontmail ^dnc ^left(?:at|on|date)?$ inactive"
    " notactive notsubscribed nonsubscribed signedoff signoff ^quit ^nomail archived blacklist blocklist blocked banned"
    " suppress complain ^spam disabled abgemeld abbestell ausgetrag gelosch geloesch inaktiv gesperrt désabon désinscr"
    " résili supprim inactif bloqu desuscri ^dadodebaja ^baja eliminad inactivo disiscri cancellat inattiv bloccat"
    " descadastr inativo uitgeschreven afgemeld wypisan avregistr afmeld iptal engelle отпис отказ удал неактив отозван"
    " выбыл ушел ушла неподписан жазылмаған заблок черныйспис жалоб шықты шыққан бастартты жойыл бұғат"
    " ملغ إلغاء محذوف محظور"
    " ^stop(?:ped|time|date|status)?$ exclu austritt ausgetreten kundig abmeld widerruf debaja$"
    " 退订 退訂 取消 解除 停止 退会 削除 黑名单 黑名單 拒收 ブロック"
)
_PENDING = _pattern(
    "pending unconfirm notconfirm unverif notverif ^waiting await unbestätigt ausstehend wartend nonconfirm enattente"
    " pendiente sinconfirmar insospeso pendente неподтвержд ожида расталмаған күтуде معلق 待确认 未確認"
)
_ON = (
    "subscribed|subscriber|active|enabled|optin|optedin|abonniert|aktiv|angemeldet|abonné|inscrit|actif|suscrito|activo"
    "|iscritto|attivo|inscrito|ativo|подписана?|активен|активна|активный|жазылған|белсенді"
    "|مشترك|نشط|订阅|已订阅|訂閱|購読中?|有効"
)
_CONFIRMED = (
    "confirmed|verified|doubleoptin|bestätigt|confirmé|confirmado|confermato|подтвержден[ао]?|расталған|مؤكد|确认|確認"
)
_ON_WORD = _pattern(
    f"^(?:is)?(?:{_ON}|{_CONFIRMED}|singleoptin|member|mailable|valid|normal|ok|available|reachable|deliverable|given"
    "|granted|agreed|erteilt|zugestimmt|donné|accordé|otorgado|дано|получено|берілді)$"
)
_ON_COLUMN = _pattern(
    f"^(?:is|has|是否)?(?:email|newsletter|marketing)?(?:{_ON})(?:toemails?|tonewsletter|email|o/n|[js]/n|y/n)?$"
    " ^(?:accepts?|allows?|receives?|wants?|gets?)?(?:the)?(?:email|our)?(?:newsletters?|marketing|mailings?)$"
    " ^emails?(?:allowed|enabled|ok|valid)$ ^accept(?:s|ed)?$ ^mailable$ ^mailinglists?$ permission(?:status|given)?$"
    " ^(?:newsletter)?subscription$ ^abonnement$ ^подписка$ ^жазылым$ рассылк(?:а|у|и)$ согласие consent(?:given)?$"
    " ^gdpr ^dsgvo ^rgpd einwilligung$ consentement$ consentimiento$ consenso$ ^келісім ^موافقة 同意$"
)
_CONFIRMED_COLUMN = _pattern(f"^(?:is)?(?:email)?(?:{_CONFIRMED})$")
_OTHER = _pattern(
    "url link href token$ reason source$ campaign(?!s) count$ comment ^notes?$ rate$ rating$ score$ sms phone"
    " whatsapp push fax postal причин (?<!ра)ссылк количеств себеб сілтеме grund raison motif motivo"
    " (?:unsub|optout|removed)\\w*ip$ ^activesubscription"
)
"""Columns beside such a column: the address of the leaving page, a reason, or another medium."""
_BOUNCE_REASON = _pattern("bounce\\w*reason$")
"""A column with the reason of a bounce. In some files it is the only sign of a bounce."""
_YES = frozenset(_plain("1 true t yes y x on да д иә ja j oui o si s sim نعم 是 はい evet + ✓ ✔").split())
_NO = frozenset(
    _plain(
        "0 false f no n off нет н жоқ nein non nao لا 否 いいえ hayır null none nan na n/a #n/a \\n - -- — never"
    ).split()
)
_NO_DATE = re.compile(r"0000-00-00.*|0{1,4}[./-]0{1,2}[./-]0{1,4}.*")
_SURELY_LEFT = _pattern(
    "^(?:unsub|unsubscribed?|opt(?:ed|s)?out|(?:hard)?bounced?|cleaned|blacklisted|blocklisted"
    "|undeliverable|unreachable|donot(?:e?mail|contact|send)|complained|complaint|markedasspam|suppressed|(?:not|non|never)subscribed|abgemeldet"
    "|abbestellt|ausgetragen|unzustellbar|desabonnee?|desinscrite?|desuscrit[oa]|(?:dado)?debaja|descadastrad[oa]"
    "|отпис(?:ан[ао]?|ался|алась|ка)|отказался|неподписана?|недоступен|жазылмаған|шыққан|бастартты|غيرمشترك|ملغى"
    "|已?退订|已?退訂|已?取消订阅|未订阅|购读停止)$"
)
"""Values that hardly mean anything else, in whatever column."""
_BRACKETS = re.compile(r"[(\[][^)\]]{0,60}[)\]]")
"""As in `Newsletter (yes/no)`."""
_MOST_VALUES = 12
EMPTY = "empty"
"""How a person names an empty value; `fold_value` of `(empty)`."""


class ColumnKind(StrEnum):
    """How a column says who has left."""

    STATE = "words"
    """By words such as `unsubscribed`."""
    AWAY = "yes or a date: they left"
    BLOCKED = "yes or a date: their address does not work"
    ON = "no: they left"
    CONFIRMED = "no: they have not confirmed"


@dataclass(frozen=True, slots=True)
class StatusColumn:
    """One column. With `left` (folded values), a person says which values mean that they left."""

    index: int
    name: str
    kind: ColumnKind
    left: frozenset[str] | None = None

    def read(self, cell: str) -> RecordState | None:
        """Return what a value says: UNKNOWN if it gives no reason not to mail, None if it is not understood."""
        value = fold_value(cell)
        if self.left is not None:
            return RecordState.LEFT if (value or EMPTY) in self.left else RecordState.UNKNOWN
        if self.kind is ColumnKind.STATE:
            return _read_word(value)
        is_yes, is_no = value in _YES, value in _NO or bool(_NO_DATE.fullmatch(cell.strip()))
        if self.kind in (ColumnKind.AWAY, ColumnKind.BLOCKED):
            if not value or is_no:
                return RecordState.UNKNOWN
            away = RecordState.BLOCKED if self.kind is ColumnKind.BLOCKED else RecordState.LEFT
            return away if is_yes or _is_date(cell) else _only_bad(_read_word(value))
        against = RecordState.LEFT if self.kind is ColumnKind.ON else RecordState.PENDING
        if is_no:
            return against
        return RecordState.UNKNOWN if is_yes or _is_date(cell) else _read_word(value) if value else None


def fold_value(text: str) -> str:
    """Return a name or value in lower case, without accents, spaces and signs between."""
    text = text.strip().casefold()
    return re.sub(r"[\s_\-.'’()?]", "", _plain(text)) or text


def find_status_columns(header: Sequence[str], candidates: Iterable[int]) -> list[StatusColumn]:
    """Return the columns among `candidates` (indexes) that may say who has left."""
    kinds = {
        index: _kind_of(fold_value(header[index])) or _kind_of(fold_value(_BRACKETS.sub("", header[index])))
        for index in candidates
    }
    return [StatusColumn(index, header[index], kind) for index, kind in kinds.items() if kind is not None]


def _kind_of(name: str) -> ColumnKind | None:
    if _BOUNCE_REASON.search(name):
        return ColumnKind.BLOCKED
    if not name or _OTHER.search(name) or _PENDING.search(name):
        return None
    for pattern, kind in (
        (_STATE_COLUMN, ColumnKind.STATE),
        (_BLOCKED, ColumnKind.BLOCKED),
        (_LEFT, ColumnKind.AWAY),
        (_CONFIRMED_COLUMN, ColumnKind.CONFIRMED),
        (_ON_COLUMN, ColumnKind.ON),
    ):
        if pattern.search(name):
            return kind
    return None


def _read_word(value: str) -> RecordState | None:
    if not value:
        return None
    for pattern, state in (
        (_PENDING, RecordState.PENDING),
        (_BLOCKED, RecordState.BLOCKED),
        (_LEFT, RecordState.LEFT),
        (_ON_WORD, RecordState.UNKNOWN),
    ):
        if pattern.search(value):
            return state
    return None


def _only_bad(state: RecordState | None) -> RecordState | None:
    return state if state in (RecordState.LEFT, RecordState.BLOCKED) else None


def _is_date(cell: str) -> bool:
    text = cell.strip()
    if re.fullmatch(r"\d{9,13}", text) or re.match(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:\D|$)", text):
        return True
    try:
        parse_moment(text, UTC, years=range(1, 10_000))
    except ValueError:
        return False
    return True


def _find_left(cell: str) -> str:
    """Return the part of a cell that surely means that the person left, or ''."""
    parts = re.split("[,;|]", cell[:300])
    return next((part.strip()[:60] for part in parts if _SURELY_LEFT.search(fold_value(part))), "")


def check_values(
    where: str,
    columns: Sequence[StatusColumn],
    rows: Iterable[Sequence[str]],
    header: Sequence[str] = (),
    suspects: Collection[int] = (),
) -> None:
    """Read every value of these columns. Raises InputError with a question if a value is unclear.

    `suspects` are indexes of other columns. A value there that clearly means that a person left is also a question.
    """
    unclear: dict[str, dict[str, None]] = {column.name: {} for column in columns}
    used: set[str] = set()
    more: dict[int, StatusColumn] = {}
    # A column repeats its values. The cache ends with the file, because it holds what people wrote.
    find_left = lru_cache(maxsize=4096)(_find_left)
    for row in rows:
        for index in suspects:
            if left := find_left(row[index] if index < len(row) else ""):
                more.setdefault(index, StatusColumn(index, header[index], ColumnKind.STATE))
                unclear.setdefault(header[index], {}).setdefault(left)
                used.add(header[index])
        for column in columns:
            cell = row[column.index] if column.index < len(row) else ""
            if cell.strip():
                used.add(column.name)
            if len(unclear[column.name]) < _MOST_VALUES and column.read(cell) is None:
                unclear[column.name].setdefault(cell.strip()[:60])
    # A column that is empty in every row says nothing.
    questions = [
        _question(each, list(unclear[each.name]))
        for each in (*columns, *more.values())
        if unclear[each.name] and each.name in used
    ]
    if questions:
        raise InputError("\n".join(f"{where}: {question}" for question in questions))


def _question(column: StatusColumn, values: Sequence[str]) -> str:
    shown = ", ".join(repr(value) if value else "(empty)" for value in values)
    example = next((value for value in values if value), "(empty)")
    return (
        f"the column {column.name!r} may say who has left. These values are not clear: {shown}. Nobody was imported. "
        f"Which of its values mean that a person has left? Name them with commas between: "
        f"--status-column {_quoted(column.name)} --left {_quoted(example)}. "
        f"If it is about something else: --ignore-column {_quoted(column.name)}."
    )


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"\W", text) else text


def worst(states: Iterable[RecordState]) -> RecordState:
    """Return the most restrictive state."""
    order = (RecordState.BLOCKED, RecordState.LEFT, RecordState.PENDING)
    found = set(states)
    return next((state for state in order if state in found), RecordState.UNKNOWN)
