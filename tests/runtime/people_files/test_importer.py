"""Imports: bad lines and files are reported, dry runs are right, and people who left stay away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.people import NOW, ImportWorld
from tidings.model.errors import InputError
from tidings.model.text import escape_formula, format_csv_line, unescape_formula
from tidings.runtime.people_files.csv_format import (
    COLUMNS,
    OwnFormat,
    StatusChoice,
    export_people,
    parse_time,
    read_table,
)
from tidings.runtime.people_files.person_record import PersonRecord
from tidings.store.people import consent, subscribers


def suppress(world: ImportWorld, address: str, reason: str, list_name: str = "") -> None:
    with world.store.write() as connection:
        consent.suppress(connection, consent.address_hash(address), list_name, reason, NOW)


ODD = """email,name,language,topics,frequency
anna@example.org,Anna,ru,water; youth,daily
not-an-address,,,,
topic@example.org,,,watter,
tongue@example.org,,xx,,
when@example.org,,,,hourly
Anna@Example.ORG,Anna again,,,
left@example.org,,,,
erased@example.org,,,,
many@example.org,a,en,,weekly,more
there@example.org,,,,

"two
lines@example.org",,,,
"open@example.org,,,,
ok@example.org,"Two
lines of a name",English,,
"""
TOLD = {
    3: "'not-an-address' is not an e-mail address",
    4: "unknown topic 'watter'. Did you mean 'water'?",
    5: "unknown language 'xx'. Known here: en, kk, ru",
    6: "no schedule serves the frequency 'hourly'",
    7: "is in line 2 already",
    8: "has left this list",
    9: "must not be mailed",
    10: "6 values, but 5 columns",
    11: "is on the list already",
    13: "is not an e-mail address",
    15: "a quote is opened here and never closed",
}


def test_bad_lines_are_reported_and_the_others_imported(world: ImportWorld) -> None:
    world.run("email\nthere@example.org\n")
    suppress(world, "LEFT@example.org", "unsubscribed", "digest")
    suppress(world, "erased@example.org", "erased")
    before = world.rows()
    foreseen = world.run(ODD, dry_run=True)
    messages = world.refused
    assert world.rows() == before
    done = world.run(ODD)
    assert (world.refused, done.counts) == (messages, foreseen.counts)
    assert list(world.refused) == list(TOLD)
    for line, reason in TOLD.items():
        assert reason in world.refused[line], (line, world.refused[line])
    assert done.counts == {"added": 2, "refused": 7, "duplicate": 1, "left": 1, "suppressed": 1, "exists": 1}
    state = world.rows()
    assert [row[0] for row in state["subscribers"]] == ["anna@example.org", "ok@example.org", "there@example.org"]
    rows = {row[0]: row for row in state["subscriptions"]}
    assert rows["anna@example.org"][1:] == ("digest", "confirmed", "daily", "fair", NOW, NOW, None, ["water", "youth"])
    assert rows["ok@example.org"][3] == "weekly"
    assert {row[2] for row in state["subscribers"]} == {"Anna", "Two lines of a name", ""}
    assert len(state["consents"]) == 3


def test_pending_people_are_confirmed_and_leavers_stay_away(world: ImportWorld) -> None:
    world.run("email\na@example.org\nb@example.org\n", confirmed=False)
    assert {row[2] for row in world.rows()["subscriptions"]} == {"pending"}
    with world.store.write() as connection:
        subscriber = subscribers.find_id(connection, "b@example.org")
        assert subscriber is not None
        subscribers.unsubscribe(connection, subscriber, "digest", source="x", now=NOW)
    done = world.run("email\na@example.org\nb@example.org\n")
    assert done.counts == {"confirmed": 1, "left": 1}
    assert [row[2] for row in world.rows()["subscriptions"]] == ["confirmed", "unsubscribed"]
    # A consent is for one list.
    assert world.run("email\nb@example.org\n", list_name="press").counts == {"added": 1}


@pytest.mark.parametrize(
    "text",
    [
        "Name;E-Mail;LANG\nAnna;anna@example.org;ru\n",
        "\ufeffLang\tFull name\tMail\r\nru\tAnna\tanna@example.org\r\n",
        "sep=;\r\nязык;Имя;Электронная почта\r\nru;Anna;anna@example.org\r\n",
        'phone,"email_address",first name,Last Name,language\n1,anna@example.org,Anna,,ru\n',
        "\n\nemail,name,language\n\n\nanna@example.org,Anna,ru",
        "email,name,language\ranna@example.org,Anna,ru\r",
    ],
)
def test_columns_may_have_any_order_case_and_delimiter(world: ImportWorld, text: str) -> None:
    done = world.run(text)
    assert done.counts == {"added": 1}
    assert [row[0:4:2] for row in world.rows()["subscribers"]] == [("anna@example.org", "Anna")]
    assert world.rows()["subscribers"][0][3] == "ru"


RUSSIAN = "email,name\nanna@example.org,Анна Петровна Иванова\n"
BAD_FILES = {
    "nothing": (b"", "is empty"),
    "blank": (b"\n\n \n", "has no lines"),
    "cp1251": (RUSSIAN.encode("cp1251"), "line 2: this is not UTF-8. It looks like Windows-1251 (cp1251)"),
    "koi8": (RUSSIAN.encode("koi8-r"), "It looks like KOI8-R"),
    "latin": ("email,name\na@example.org,Zoë Müller\n".encode("latin-1"), "Windows-1252 or Latin-1"),
    "utf-16": (RUSSIAN.encode("utf-16"), "is UTF-16"),
    "utf-16 bare": (RUSSIAN.encode("utf-16-le"), "is UTF-16"),
    "workbook": (b"PK\x03\x04rest", "is a workbook"),
    "cut": (RUSSIAN.encode()[:-2], "in the middle of a character"),
    "no email": (b"name,language\nAnna,ru\n", "line 1: there is no column `email`"),
    "no header": (b"anna@example.org\n", "line 1: there is no column `email`"),
    "near": (b"email,frequncy\nanna@example.org,weekly\n", "unknown column 'frequncy'. Did you mean 'frequency'?"),
    "quote": (b'"email,name\nanna@example.org,x\n', "line 1: a quote is opened here and never closed"),
    "long header": (b"email," + b"x" * 100_000 + b"\n", "line 1: the line is longer than 65,536 characters"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_unreadable_file_is_refused_with_the_reason(world: ImportWorld, name: str) -> None:
    content, message = BAD_FILES[name]
    path = world.write(content)
    with pytest.raises(InputError) as caught:
        world.run(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert world.rows()["subscribers"] == []


STATUS_COLUMNS = [
    ("status", "subscribed", "unsubscribed", "unsubscribed"),
    ("status", "active", "bounced", "blocked"),
    ("subscribed", "true", "false", "unsubscribed"),
    ("unsubscribed_at", "", "2024-05-06 07:08:09", "unsubscribed"),
    ("unsubscribed_at", "0000-00-00 00:00:00", "06/05/2024", "unsubscribed"),
    ("EMAIL_BLACKLISTED", "0", "1", "unsubscribed"),
    ("email_disabled", "false", "true", "unsubscribed"),
    ("Cleaned", "no", "yes", "blocked"),
    ("unreachable", "", "x", "blocked"),
    ("Do not e-mail", "FALSE", "TRUE", "unsubscribed"),
    ("opted_out", "null", "1715000000", "unsubscribed"),
    ("confirmed", "1", "0", "pending"),
    ("Статус", "Подписан", "Отписался", "unsubscribed"),
    ("Подписан", "да", "нет", "unsubscribed"),
    ("Дата отписки", "", "06.05.2024", "unsubscribed"),
    ("Күйі", "жазылған", "жазылудан шықты", "unsubscribed"),
    ("Abonniert", "ja", "nein", "unsubscribed"),
    ("Statut", "abonné", "désabonné", "unsubscribed"),
    ("Estado", "activo", "dado de baja", "unsubscribed"),
    ("الحالة", "مشترك", "ملغى", "unsubscribed"),
    ("状态", "已订阅", "已退订", "unsubscribed"),
    ("CLEAN_TIME", "", "2024-01-02 10:00:00", "blocked"),
    ("On hold", "No", "Yes", "blocked"),
    ("IsExcludedFromCampaigns", "false", "true", "unsubscribed"),
    ("Newsletter (ja/nein)", "ja", "nein", "unsubscribed"),
    ("Wants newsletter", "yes", "no", "unsubscribed"),
    ("DSGVO-Einwilligung", "erteilt", "widerrufen", "unsubscribed"),
    ("Abmeldedatum", "", "02.01.2024", "unsubscribed"),
    ("Consentement", "oui", "non", "unsubscribed"),
    ("Fecha de baja", "", "02/01/2024", "unsubscribed"),
    ("Согласие на рассылку", "да", "нет", "unsubscribed"),
    ("是否订阅", "是", "否", "unsubscribed"),
    ("email_availability", "available", "unreachable", "blocked"),
]


def test_a_column_of_people_who_left_is_understood(world: ImportWorld) -> None:
    """They were added as confirmed subscribers."""
    for number, (header, stays, leaves, state) in enumerate(STATUS_COLUMNS):
        world.run(f"email,{header}\nstays{number}@example.org,{stays}\nleaves{number}@example.org,{leaves}\n")
        with world.store.read() as connection:
            states = {
                subscription.address: subscription.state for subscription in subscribers.subscriptions(connection)
            }
            reason = consent.suppression(connection, consent.address_hash(f"leaves{number}@example.org"), "digest")
        assert states[f"stays{number}@example.org"] == "confirmed", header
        assert (states.get(f"leaves{number}@example.org") or reason) == state, header


def test_an_unclear_column_is_a_question(world: ImportWorld) -> None:
    text = "email,state,Mail status\na@example.org,CA,7\nb@example.org,NY,9\nc@example.org,,9\n"
    with pytest.raises(InputError) as caught:
        world.run(text)
    question = str(caught.value)
    assert "'state'" in question and "'CA', 'NY', (empty)" in question and "--ignore-column state" in question
    assert '--status-column "Mail status" --left 7' in question and "Nobody was imported" in question
    assert world.rows()["subscriptions"] == []
    with pytest.raises(InputError, match="there is no column 'statu'"):
        world.run(text, status=StatusChoice("statu", ("9",)))
    summary = world.run(text, status=StatusChoice("Mail status", ("9",), ("state",)))
    assert summary.counts == {"added": 1, "away": 2}
    text = "email,reader\nd@example.org,\ne@example.org,x\n"
    assert world.run(text, status=StatusChoice("reader", ("(empty)",))).counts == {"away": 1, "added": 1}


@pytest.mark.parametrize(
    ("column", "value"),
    [("type", "unsubscribed"), ("Tags", "vip; Opted out"), ("Сегмент", "Отписался"), ("Bounce reason", "no such user")],
)
def test_a_value_like_unsubscribed_is_a_question_in_any_column(world: ImportWorld, column: str, value: str) -> None:
    text = f'email,{column}\na@example.org,reader\nb@example.org,"{value}"\n'
    with pytest.raises(InputError, match=f"the column '{column}' may say who has left"):
        world.run(text)
    assert world.rows()["subscriptions"] == []
    assert world.run(text, status=StatusChoice(ignored=(column,))).counts == {"added": 2}


@pytest.mark.parametrize(
    "header", ["E-Mail-Adresse", "Courriel", "Correo electro\u0301nico", "邮箱", "البريد الإلكتروني"]
)
def test_the_column_of_addresses_has_many_names(world: ImportWorld, header: str) -> None:
    assert world.run(f"{header}|Vorname|Nachname\na@example.org|Ada|Lovelace\n").counts == {"added": 1}
    assert world.rows()["subscribers"][0][2] == "Ada Lovelace"


def test_an_empty_status_column_says_nothing(world: ImportWorld) -> None:
    assert world.run("email,status,unsubscribe_url\na@example.org,,https://x.example/1\n").counts == {"added": 1}


def test_a_bad_line_does_not_affect_the_next_lines(world: ImportWorld) -> None:
    lines = [
        b"email,name",
        b"a@example.org,nul\0",
        b"b@example.org," + b"x" * 10_000_000,
        b"c@example.org," + b"y" * 300,
        b'd@example.org,"open',
        b'e@example.org,a "quoted" word',
        b'f@example.org,"closed" early',
        b'"g@example.org",5" disk',
        *[b"h%d@example.org," % number for number in range(300)],
    ]
    done = world.run(b"\n".join(lines))
    assert sorted(world.refused) == [2, 3, 4, 5, 7]
    assert (
        "invisible" in world.refused[2]
        and "longer than 65,536" in world.refused[3]
        and "name has 300" in world.refused[4]
    )
    assert "never closed" in world.refused[5]
    assert "middle of a value" in world.refused[7]
    assert done.counts["added"] == 302
    assert world.run("email,name\n").counts == {}


@given(st.text())
def test_an_escaped_cell_is_no_formula_and_reversible(cell: str) -> None:
    assert unescape_formula(escape_formula(cell)) == cell
    assert not escape_formula(cell).startswith(("=", "+", "-", "@", "\t", "\r"))


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40).map(lambda text: " ".join(text.split()))
FORMULAS = st.sampled_from(["=1+1", "'=x", "''+x", "-2", "@SUM(A1)", "'", '"', 'a "b" c', "a;b,c"])
LOCALS = st.from_regex(r"['=+\-]?[a-z0-9'=+\-]{1,20}", fullmatch=True)


@given(st.lists(st.tuples(LOCALS, NAMES | FORMULAS, st.sampled_from(["en", "ru", ""])), max_size=8))
def test_an_export_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    cells = [(f"{local}@example.org", name, language, "water;youth", "daily") for local, name, language in rows]
    path.write_text("".join(format_csv_line(line) for line in [COLUMNS, *cells]), encoding="utf-8", newline="")
    result = []
    for person in read_table(path, OwnFormat("digest")).people:
        assert isinstance(person, PersonRecord), person
        result.append(
            (person.email, " ".join(person.name.split()), person.language, ";".join(person.topics), person.frequency)
        )
    assert result == cells


def test_a_full_export_is_imported_into_another_store(world: ImportWorld, tmp_path: Path) -> None:
    world.run("email,name,language,topics,frequency\n'=a@example.org,\"'=SUM(1)\",ru,water,daily\n")
    world.run("email\np@example.org\n", confirmed=False)
    world.run("email\nq@example.org\n", list_name="press")
    world.run("email\nleft@example.org\n")
    with world.store.write() as connection:
        subscriber = subscribers.find_id(connection, "left@example.org")
        assert subscriber is not None
        subscribers.unsubscribe(connection, subscriber, "digest", source="x", now=NOW)
    states = ("confirmed", "pending", "unsubscribed")
    text = "".join(export_people(world.store, "digest", states, everything=True))
    assert "\n'=a@example.org,'=SUM(1),ru,water,daily,digest,confirmed,fair,2026-05-04T09:00:00Z,\n" in text
    assert len(text.splitlines()) == 4
    assert len("".join(export_people(world.store, None)).splitlines()) == 3

    other = ImportWorld(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other")
    done = other.run(text, confirmed=False)
    assert done.counts == {"added": 2, "away": 1}
    mine = {row[0]: row for row in world.rows()["subscriptions"]}
    assert [mine[row[0]] for row in other.rows()["subscriptions"]] == other.rows()["subscriptions"]
    assert [row[1:3] for row in other.rows()["suppressions"]] == [("digest", "unsubscribed")]
    assert other.run("email\nleft@example.org\n").counts == {"left": 1}
    other.store.close()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2018-10-11 09:55:14", datetime(2018, 10, 11, 9, 55, 14, tzinfo=UTC)),
        ("2021-03-04 05:06:07.12 +0500 +05", datetime(2021, 3, 4, 0, 6, 7, 120_000, tzinfo=UTC)),
        ("2021-03-04 05:06:07.123456789 +0000 UTC", datetime(2021, 3, 4, 5, 6, 7, 123_456, tzinfo=UTC)),
        ("2021-03-04T05:06:07.000Z", datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2021-03-04 05:06", datetime(2021, 3, 4, 5, 6, tzinfo=UTC)),
        ("2021-03-04", datetime(2021, 3, 4, tzinfo=UTC)),
        ("", None),
    ],
)
def test_times_of_other_tools(text: str, at: datetime | None) -> None:
    assert parse_time(text, "x") == at


@pytest.mark.parametrize("text", ["11/10/2018 9:55", "yesterday", "2018-13-01 00:00:00", "0001-01-01T00:00:00+05:00"])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        parse_time(text, "OPTIN_TIME")
