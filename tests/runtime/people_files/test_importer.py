"""Imports: each line by its number, odd files in words, dry runs that foretell, nobody brought back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.people import NOW, Roll
from tidings.model.errors import InputError
from tidings.model.text import escape_formula, format_csv_line, unescape_formula
from tidings.runtime.people_files.csv_format import COLUMNS, OwnFormat, parse_time, read_table
from tidings.runtime.people_files.export import export_people
from tidings.runtime.people_files.records import PersonRecord
from tidings.store.people import consent, subscribers


@pytest.fixture
def roll(database_url: str, tmp_path: Path) -> Iterator[Roll]:
    found = Roll(database_url, tmp_path / "n")
    yield found
    found.store.close()


def suppress(roll: Roll, address: str, reason: str, list_name: str = "") -> None:
    with roll.store.write() as connection:
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
lines of a name",,,
"""
TOLD = {
    3: "'not-an-address' is no e-mail address",
    4: "unknown topic 'watter'. Did you mean 'water'?",
    5: "unknown language 'xx'. Known here: en, kk, ru",
    6: "no schedule serves the frequency 'hourly'",
    7: "stands in line 2 already",
    8: "has left this list",
    9: "must not be mailed",
    10: "6 values, but 5 columns",
    11: "is on the list already",
    13: "is no e-mail address",
    15: "a quote is opened here and never closed",
}


def test_each_odd_line_is_told_and_the_others_go_in(roll: Roll) -> None:
    roll.take("email\nthere@example.org\n")
    suppress(roll, "LEFT@example.org", "unsubscribed", "digest")
    suppress(roll, "erased@example.org", "erased")
    before = roll.state()
    foreseen = roll.take(ODD, dry_run=True)
    told = roll.told
    assert roll.state() == before
    done = roll.take(ODD)
    assert (roll.told, done.counts) == (told, foreseen.counts)
    assert list(roll.told) == list(TOLD)
    for line, reason in TOLD.items():
        assert reason in roll.told[line], (line, roll.told[line])
    assert done.counts == {"added": 2, "refused": 7, "duplicate": 1, "left": 1, "suppressed": 1, "exists": 1}
    state = roll.state()
    assert [row[0] for row in state["subscribers"]] == ["anna@example.org", "ok@example.org", "there@example.org"]
    assert state["imports"] == []
    rows = {row[0]: row for row in state["subscriptions"]}
    assert rows["anna@example.org"][1:] == ("digest", "confirmed", "daily", "fair", NOW, NOW, None, ["water", "youth"])
    assert rows["ok@example.org"][3] == "weekly"
    assert {row[2] for row in state["subscribers"]} == {"Anna", "Two lines of a name", ""}
    assert len(state["consents"]) == 3


def test_pending_ones_become_confirmed_and_who_left_stays_away(roll: Roll) -> None:
    roll.take("email\na@example.org\nb@example.org\n", confirmed=False)
    assert {row[2] for row in roll.state()["subscriptions"]} == {"pending"}
    with roll.store.write() as connection:
        found = subscribers.find_id(connection, "b@example.org")
        assert found is not None
        subscribers.unsubscribe(connection, found, "digest", source="x", now=NOW)
    done = roll.take("email\na@example.org\nb@example.org\n")
    assert done.counts == {"confirmed": 1, "left": 1}
    assert [row[2] for row in roll.state()["subscriptions"]] == ["confirmed", "unsubscribed"]
    # Another list is another consent.
    assert roll.take("email\nb@example.org\n", list_name="press").counts == {"added": 1}


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
def test_columns_in_any_order_and_case_by_any_delimiter(roll: Roll, text: str) -> None:
    done = roll.take(text)
    assert done.counts == {"added": 1}
    assert [row[0:4:2] for row in roll.state()["subscribers"]] == [("anna@example.org", "Anna")]
    assert roll.state()["subscribers"][0][3] == "ru"


RUSSIAN = "email,name\nanna@example.org,Анна Петровна Иванова\n"
BAD_FILES = {
    "nothing": (b"", "is empty"),
    "blank": (b"\n\n \n", "has no line"),
    "cp1251": (RUSSIAN.encode("cp1251"), "line 2: this is no UTF-8; it looks like Windows-1251 (cp1251)"),
    "koi8": (RUSSIAN.encode("koi8-r"), "it looks like KOI8-R"),
    "latin": ("email,name\na@example.org,Zoë Müller\n".encode("latin-1"), "Windows-1252 or Latin-1"),
    "utf-16": (RUSSIAN.encode("utf-16"), "is UTF-16"),
    "utf-16 bare": (RUSSIAN.encode("utf-16-le"), "is UTF-16"),
    "workbook": (b"PK\x03\x04rest", "is a workbook"),
    "cut": (RUSSIAN.encode()[:-2], "it was cut"),
    "no email": (b"name,language\nAnna,ru\n", "line 1: there is no column `email`"),
    "no header": (b"anna@example.org\n", "line 1: there is no column `email`"),
    "near": (b"email,frequncy\nanna@example.org,weekly\n", "unknown column 'frequncy'. Did you mean 'frequency'?"),
    "quote": (b'"email,name\nanna@example.org,x\n', "line 1: a quote is opened here and never closed"),
    "long header": (b"email," + b"x" * 100_000 + b"\n", "line 1: it is longer than 65,536 characters"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_says_so(roll: Roll, name: str) -> None:
    content, said = BAD_FILES[name]
    path = roll.write(content)
    with pytest.raises(InputError) as caught:
        roll.take(path)
    assert said in str(caught.value) and str(path) in str(caught.value)
    assert roll.state()["subscribers"] == []


def test_odd_lines_never_take_the_rest_with_them(roll: Roll) -> None:
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
    done = roll.take(b"\n".join(lines))
    assert sorted(roll.told) == [2, 3, 4, 5, 7]
    assert "invisible" in roll.told[2] and "longer than 65,536" in roll.told[3] and "name has 300" in roll.told[4]
    assert "never closed" in roll.told[5]
    assert "middle of a value" in roll.told[7]
    assert done.counts["added"] == 302
    assert roll.take("email,name\n").counts == {}


@given(st.text())
def test_a_neutral_cell_is_no_formula_and_comes_back(cell: str) -> None:
    assert unescape_formula(escape_formula(cell)) == cell
    assert not escape_formula(cell).startswith(("=", "+", "-", "@", "\t", "\r"))


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40).map(lambda text: " ".join(text.split()))
FORMULAS = st.sampled_from(["=1+1", "'=x", "''+x", "-2", "@SUM(A1)", "'", '"', 'a "b" c', "a;b,c"])
LOCALS = st.from_regex(r"['=+\-]?[a-z0-9'=+\-]{1,20}", fullmatch=True)


@given(st.lists(st.tuples(LOCALS, NAMES | FORMULAS, st.sampled_from(["en", "ru", ""])), max_size=8))
def test_what_is_exported_is_taken_in_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    cells = [(f"{local}@example.org", name, language, "water;youth", "daily") for local, name, language in rows]
    path.write_text("".join(format_csv_line(line) for line in [COLUMNS, *cells]), encoding="utf-8", newline="")
    found = []
    for one in read_table(path, OwnFormat("digest")).people:
        assert isinstance(one, PersonRecord), one
        found.append((one.email, " ".join(one.name.split()), one.language, ";".join(one.topics), one.frequency))
    assert found == cells


def test_everything_out_and_into_another_store(roll: Roll, tmp_path: Path) -> None:
    roll.take("email,name,language,topics,frequency\n'=a@example.org,\"'=SUM(1)\",ru,water,daily\n")
    roll.take("email\np@example.org\n", confirmed=False)
    roll.take("email\nq@example.org\n", list_name="press")
    roll.take("email\nleft@example.org\n")
    with roll.store.write() as connection:
        found = subscribers.find_id(connection, "left@example.org")
        assert found is not None
        subscribers.unsubscribe(connection, found, "digest", source="x", now=NOW)
    states = ("confirmed", "pending", "unsubscribed")
    text = "".join(export_people(roll.store, "digest", states, everything=True))
    assert "\n'=a@example.org,'=SUM(1),ru,water,daily,digest,confirmed,fair,2026-05-04T09:00:00Z,\n" in text
    assert len(text.splitlines()) == 4
    assert len("".join(export_people(roll.store, None)).splitlines()) == 3

    other = Roll(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other")
    done = other.take(text, confirmed=False)
    assert done.counts == {"added": 2, "away": 1}
    mine = {row[0]: row for row in roll.state()["subscriptions"]}
    assert [mine[row[0]] for row in other.state()["subscriptions"]] == other.state()["subscriptions"]
    assert [row[1:3] for row in other.state()["suppressions"]] == [("digest", "unsubscribed")]
    assert other.take("email\nleft@example.org\n").counts == {"left": 1}
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
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no time"):
        parse_time(text, "OPTIN_TIME")
