"""Notices to the team are in the first language of the newsroom. Values in them stay as they are."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.config import test_load, test_yaml_text
from tests.config.newsrooms import WEEKLY, read, spoilt, write
from tidings.config.yaml_text import read_yaml
from tidings.model.dates import format_local
from tidings.pipeline.compose.due import _describe_restore
from tidings.render import team_notices
from tidings.render.room import command_words
from tidings.render.team_notices import translate_hold, translate_notice
from tidings.runtime import explain
from tidings.runtime.people_files.importer import _REPORTED

MESSAGES = (*team_notices._LINES, *team_notices.REASONS, *team_notices._COUNTS)


@pytest.mark.parametrize("language", ["ru", "kk", "ar", "fr", "es", "zh"])
@pytest.mark.parametrize("message", MESSAGES)
def test_every_line_for_the_team_is_translated(message: str, language: str) -> None:
    """Each message is recognised in its own English text, and keeps all of its values."""
    line = re.sub(r"%\((\w+)\)s", r"<\1>", message)
    values = {f"<{name}>" for name in re.findall(r"%\((\w+)\)s", message)}
    known = message in team_notices._LINES
    translated = translate_notice(line, language) if known else team_notices.translate_line(line, (message,), language)
    assert translated != line
    assert all(value in translated for value in values)
    assert team_notices.translate_line(line, (message,), "en") == line


@pytest.mark.parametrize(
    ("text", "russian"),
    [
        (
            "An item was refused until it is corrected. All other items were taken.\na.md:2:1: unknown",
            "Материал отложен, пока его не исправят. Все остальные материалы приняты.\na.md:2:1: unknown",
        ),
        (
            "Deliveries failed: 3 rejected, 1 in doubt. To see them: tidings ledger --state rejected",
            "Не всё доставлено: отклонено: 3, под вопросом: 1. Чтобы посмотреть: tidings ledger --state rejected",
        ),
        (
            "Edition weekly/1 is held: 9 of 12 mails were refused or returned by mx1, so nobody was removed: 550 no.\n"
            "To take these readers off: tidings resolve weekly/1 --believe",
            "Выпуск weekly/1 задержан: писем отклонено или вернулось: 9 из 12 (mx1), поэтому никто не исключён: "
            "550 no.\nЧтобы исключить этих читателей: tidings resolve weekly/1 --believe",
        ),
        (
            "Edition weekly/2: 3 items were shortened to 'read more' to keep the mail under 102 KB.",
            "Выпуск weekly/2: сокращено до «читать дальше» материалов: 3, чтобы письмо было меньше 102 КБ.",
        ),
        ("A text that nobody knows: 100%(x)s\n", "A text that nobody knows: 100%(x)s\n"),
        ("Mail cannot be sent: 100%(reason)s %s", "Почту нельзя отправить: 100%(reason)s %s"),
    ],
)
def test_a_notice_to_the_team_is_translated(text: str, russian: str) -> None:
    assert translate_notice(text, "ru") == russian
    assert translate_notice(text, "en") == text


@pytest.mark.parametrize(
    ("detail", "russian"),
    [
        ("waits for boss@example.org", "ждёт решения: boss@example.org"),
        ("waits for 2 of a@example.org, b@example.org", "нужно решений: 2; от кого: a@example.org, b@example.org"),
        (
            "digest (en): the picture 'a.jpg' has no alt text; add alt to the item's images",
            "digest (en): у картинки 'a.jpg' нет alt-текста; добавьте к картинкам материала alt",
        ),
        (
            "boss@example.org sent it back: too long; cut it",
            "boss@example.org вернул(а) на доработку: too long; cut it",
        ),
        (
            "the newsroom's clock was ahead, at 2026-12-01 10:00 (Asia/Almaty), and root set it back; "
            "it was composed before that",
            "часы редакции спешили, на них было 2026-12-01 10:00 (Asia/Almaty), и root их вернул(а); "
            "он составлен до этого",
        ),
        ("something new", "something new"),
    ],
)
def test_the_reasons_of_a_held_notice_are_translated(detail: str, russian: str) -> None:
    assert translate_hold(detail, "ru") == russian
    assert translate_hold(detail, "en") == detail


@pytest.mark.parametrize("language", ["ru", "kk", "ar", "fr", "es", "zh"])
def test_the_notice_of_a_restore_is_translated(language: str) -> None:
    """Each line of the notice is translated, and its times are in the newsroom's zone."""
    made = datetime(2026, 12, 1, 5, 30, tzinfo=UTC)
    text = _describe_restore(format_local(made, ZoneInfo("Asia/Almaty")), ["weekly/3"], ["daily"])
    lines = text.split("\n")
    translated = translate_notice(text, language).split("\n")
    assert len(lines) == len(translated) == 6
    assert not set(lines) & set(translated)
    assert "2026-12-01 10:30 (Asia/Almaty)" in translated[0]
    assert "`tidings release EDITION`" in translated[3]


@pytest.mark.parametrize("language", ["ru", "kk", "ar"])
def test_every_word_of_a_command_is_translated_in_the_room(language: str) -> None:
    for message in command_words._MESSAGES["notes"]:
        line = re.sub(r"%\((\w+)\)s", r"<\1>", message)
        translated = command_words.translate_words(line, language)
        assert translated != line
        assert all(f"<{name}>" in translated for name in re.findall(r"%\((\w+)\)s", message))


def test_no_advice_is_half_translated() -> None:
    """A line of a file is translated. A sentence whose end has no translation stays English as a whole."""
    longer = "write `default_frequency: daily`, and the others with it"
    assert command_words.translate_check(longer, "ar") == longer
    assert command_words.translate_check("write `title: a cat for the queen`", "ru") == (
        "напишите `title: a cat for the queen`"
    )
    assert command_words.translate_check("monthly: 'fri 09:00' is not a monthly rule", "kk") == (
        "monthly: 'fri 09:00' айлық ереже емес"
    )


def test_why_a_line_is_left_out_is_translated_whole() -> None:
    unknown = "unknown language 'ar'. Known here: en, kk, ru"
    assert command_words.translate_check(unknown, "ar").endswith("المعروف هنا: en, kk, ru")
    assert all(command_words.translate_check(reason, "ru") != reason for reason in _REPORTED.values())


def test_notes_of_the_plan_name_days_as_the_room_does() -> None:
    note = "its cadence was changed to every Friday at 09:00 (Asia/Almaty); it counts from Mon 2026-11-30 17:00"
    assert command_words.translate_check(note, "en").endswith("it counts from Mon, 30 November 2026, 17:00")
    assert command_words.translate_check(note, "ru") == (
        "ритм изменён: каждую неделю (пятница) в 09:00 (Asia/Almaty); оно действует с пн, 30 ноября 2026\u00a0г., 17:00"
    )
    held = "held: waits for boss@example.org"
    assert command_words.translate_check(held, "ru") == "задержан: ждёт решения: boss@example.org", "it is no setting"
    assert "الجمعة" in command_words.translate_check("changed by a person, moved to 2026-12-04 09:00", "ar")
    assert command_words.translate_check("write 2026-12-04", "en") == "write 2026-12-04", "it is typed into YAML"


@pytest.mark.parametrize("language", ["ru", "kk", "ar"])
def test_each_mistake_in_a_schedule_is_translated(tmp_path: Path, language: str) -> None:
    """The mistakes are those of the tests of the configuration, so that a new message there is translated too."""
    plain = "title: x\ncadence:\n  weekly: fri 09:00\ndeliver:\n  - list: digest\n    frequency: weekly\n"
    mistakes = [(WEEKLY, good, bad) for good, bad, _ in _cases(test_load.test_a_mistake_in_a_schedule)]
    rules = _cases(test_load.test_an_impossible_cadence_is_explained_at_its_line)
    mistakes += [(plain, "weekly: fri 09:00", rule) for rule, _ in rules]
    problems = [
        problem
        for schedule, good, bad in mistakes
        for problem in read(write(tmp_path, schedules={"weekly": spoilt(schedule, good, bad)})).problems
    ]
    tables = (
        test_yaml_text.test_each_refusal_has_its_line_and_column,
        test_yaml_text.test_a_typing_mistake_is_named_at_its_place,
    )
    problems += [problem for table in tables for case in _cases(table) for problem in read_yaml(case[0], "f")[1]]
    texts = [text for problem in problems for text in (problem.message, problem.mend) if text]
    assert len(texts) > 200
    assert [text for text in texts if command_words.translate_check(text, language) == text] == []


def _cases(test: Any) -> list[tuple[str, ...]]:
    """Return the cases of a parametrized test."""
    return next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize")


def test_refusals_behind_the_rooms_buttons_are_translated() -> None:
    """The sources are read, so that a new refusal is translated too."""
    modules = (
        "runtime/team/files",
        "runtime/team/schedule_form",
        "runtime/team/story_pictures",
        "runtime/team/yaml_edit",
    )
    modules += ("pipeline/compose/composer", "pipeline/deliver/corrections")
    for module in modules:
        source = Path(command_words.__file__).parents[2].joinpath(f"{module}.py").read_text(encoding="utf-8")
        for raised in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise)):
            text = _message(raised)
            assert not text or command_words.translate_check(text, "kk") != text, (module, text)


@pytest.mark.parametrize("language", ["ru", "kk", "ar"])
def test_answers_of_explain_are_translated(language: str) -> None:
    for message in command_words._MESSAGES["explanations"]:
        line = re.sub(r"%\((\w+)\)s", "<value>", message)
        assert command_words.translate_check(line, language) != line, line
    for why in explain._SKIPPED.values():
        line = f"weekly/2: not sent at 2026-09-11 09:00: {why}."
        assert not re.search("not sent|they|reader", command_words.translate_check(line, language)), line


def _message(raised: ast.Raise) -> str:
    """Return the message of a `raise` with a sample in place of each value, or '' if it is made elsewhere."""
    call = raised.exc
    message = call.args[0] if isinstance(call, ast.Call) and call.args else None
    if isinstance(message, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<value>" for part in message.values)
    return message.value if isinstance(message, ast.Constant) and isinstance(message.value, str) else ""


ANSWERS = {
    "mx.example: 550 5.1.1 <a@example.org>: user unknown": "This mailbox does not exist.",
    "452 4.2.2 The email account that you tried to reach is over quota": "The mailbox is full.",
    "554 5.7.1 Message blocked due to spam content": "The other server blocks our mail.",
    "421 4.3.0 greylisted, try again later": "The other server asks us to try again later.",
    "HTTP 401: Invalid access token": "The other server does not accept our password or key. An admin renews it.",
    "HTTP 403: insufficient scope": "The other server does not let our account do this.",
    "HTTP 404: the webhook no longer exists, so make a new one": "What we write to is no longer there.",
    "HTTP 429": "The other server asks us to wait.",
    "HTTP 503": "The other server has a fault of its own.",
    "HTTP 400: Status is a duplicate": "The other server takes it for a post that it has already.",
    "the account could not be read back: HTTP 500": "Nobody knows whether the other server took it.",
    "SSL: CERTIFICATE_VERIFY_FAILED": "The secure connection to the other server failed.",
    "no answer within 30 s": "The other server did not answer in time.",
    "connection refused": "The other server cannot be reached.",
    "HTTP 422: Text ist ungültig": "The other server refuses it.",
    "something else": "",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_of_servers_are_explained_in_every_language(text: str) -> None:
    assert command_words.explain_answer(text, "en") == ANSWERS[text]
    for language in ("ru", "kk", "ar"):
        explained = command_words.explain_answer(text, language)
        assert bool(explained) == bool(ANSWERS[text]) and (not explained or explained != ANSWERS[text])
