"""Collecting: ids that are made once and kept, items that vanish, and questions to a person."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from tidings.model.errors import Problem
from tidings.pipeline.collect.changes import decide_changes
from tidings.pipeline.collect.sweep import UnchangedSweeps, collect
from tidings.pipeline.collect.writing import SweepResult
from tidings.sources.base import SourceItem, Sweep
from tidings.store import schema as t
from tidings.store.content import items
from tidings.store.content.items import KnownItem, next_visible_at
from tidings.store.engine import Store

URL = "https://news.example/"
NOW = datetime(2023, 10, 1, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def found(ref: str, **values: object) -> SourceItem:
    """An item at `NAME.LANG`. Its fingerprint covers everything except its place."""
    name, language = ref.rsplit("/", 1)[-1].rsplit(".", 1)
    base = SourceItem(
        ref=ref, name=name, language=language, title=f"Title of {name}", summary="", body="<p>Body</p>", kind="story",
        fingerprint="",
    )  # fmt: skip
    whole = dataclasses.replace(base, **values)  # type: ignore[arg-type]
    seen = dataclasses.replace(whole, ref="", name="", explicit_id=None, story=None)
    return dataclasses.replace(whole, fingerprint=hashlib.sha256(repr(seen).encode()).hexdigest())


class MemorySource:
    """A source with the items that a test puts into it."""

    def __init__(self, *content: SourceItem) -> None:
        self.content = {one.ref: one for one in content}
        self.broken: dict[str, str] = {}
        self.readable = True

    def put(self, *content: SourceItem) -> None:
        self.content |= {one.ref: one for one in content}

    def move(self, old: str, new: str, **values: object) -> None:
        one = self.content.pop(old)
        name, language = new.rsplit("/", 1)[-1].rsplit(".", 1)
        self.content[new] = dataclasses.replace(one, ref=new, name=name, language=language, **values)  # type: ignore[arg-type]

    def sweep(self, now: datetime) -> Sweep:
        problems = tuple(Problem(ref, 3, 1, message, "mend it") for ref, message in self.broken.items())
        good = tuple(one for ref, one in self.content.items() if ref not in self.broken)
        return Sweep(good, problems, tuple(self.broken), self.readable)

    def watch_paths(self) -> tuple[Path, ...]:
        return ()


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    store = Store(database_url, tmp_path)
    t.metadata.create_all(store.engine)
    yield store
    store.close()


def run(store: Store, source: MemorySource, now: datetime = NOW, *, accept: bool = False) -> SweepResult:
    return collect(store, {"newsroom": source}, now=now, url=URL, accept=accept)


def rows(store: Store) -> dict[str, items.Item]:
    """Return items by ref, also those that are gone."""
    with store.read() as connection:
        return {item.ref: item for item in items.load_items(connection, include_gone=True)}


def notices(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {row.key: row.text for row in connection.execute(select(t.notices))}


def test_a_new_item_is_minted_once(store: Store) -> None:
    one = found("content/Молодёжь 2023.en", images=(), topics=("sdg-4",), extra={"gallery": "5"})
    done = run(store, MemorySource(one))
    item = rows(store)[one.ref]
    assert done.new == [item.id] and item.id.startswith("urn:uuid:")
    assert (item.story, item.slug, item.url) == ("molodezh-2023", "molodezh-2023", f"{URL}en/molodezh-2023/")
    assert item.published == item.first_seen == item.out_at == item.changed == NOW
    assert item.topics == ("sdg-4",) and item.extra == {"gallery": "5"}


def test_a_second_collect_writes_nothing(store: Store) -> None:
    source = MemorySource(
        found("a.en"), found("b.en", draft=True), found("c.en", published=NOW + HOUR), found("d.en", withdrawn="x")
    )
    source.broken = {"e.en": "half-written"}
    run(store, source)
    written: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def _note(*arguments: object) -> None:
        if not str(arguments[2]).startswith(("SELECT", "BEGIN")):
            written.append(str(arguments[2]))

    done = run(store, source, NOW + 3 * HOUR)
    assert not written and not done.has_changes
    assert [problem.file for problem in done.problems] == ["e.en"]


def test_the_same_sweep_is_not_compared_with_all_items_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cycle of the service compared every item of a website with every stored one."""
    source = MemorySource(found("content/a.en"), found("content/b.en"))
    sweep = source.sweep(NOW)
    monkeypatch.setattr(source, "sweep", lambda now: sweep)
    compared: list[int] = []
    load = items.load_known
    monkeypatch.setattr(items, "load_known", lambda connection: compared.append(1) or load(connection))
    unchanged: UnchangedSweeps = {}
    counts = []
    for number in range(6):
        if number == 4:
            # Another source changed items.
            collect(
                store,
                {"newsroom": source, "other": MemorySource(found("other/c.en"))},
                now=NOW,
                url=URL,
                unchanged=unchanged,
            )
        collect(store, {"newsroom": source}, now=NOW, url=URL, unchanged=unchanged)
        counts.append(len(compared))
    assert counts[1:4] == [2, 2, 2]
    assert counts[4] > 3
    source.put(found("content/a.en", title="New"))
    sweep = MemorySource(*source.content.values()).sweep(NOW)
    assert collect(store, {"newsroom": source}, now=NOW, url=URL, unchanged=unchanged).changed


def test_an_item_that_left_a_website_goes_after_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle within the minute found nothing to change, and later cycles did not look again."""
    source, unchanged = MemorySource(found("a.en"), found("b.en")), UnchangedSweeps()
    collect(store, {"newsroom": source}, now=NOW, url=URL, unchanged=unchanged)
    sweep = MemorySource(found("b.en")).sweep(NOW)
    monkeypatch.setattr(source, "sweep", lambda now: sweep)
    for seconds in (0, 10, 20, 70):
        collect(store, {"newsroom": source}, now=NOW + timedelta(seconds=seconds), url=URL, unchanged=unchanged)
        assert (rows(store)["a.en"].gone_at is not None) == (seconds == 70), seconds


def test_an_item_has_four_different_dates(store: Store) -> None:
    published = NOW - 30 * 24 * HOUR
    run(store, MemorySource(found("a.en", published=published, updated=published + HOUR)))
    item = rows(store)["a.en"]
    assert (item.published, item.changed, item.first_seen, item.out_at) == (published, published + HOUR, NOW, NOW)


def test_a_draft_is_new_once_it_is_ready(store: Store) -> None:
    source = MemorySource(found("a.en", draft=True, published=NOW - HOUR))
    run(store, source)
    assert rows(store)["a.en"].out_at is None
    source.put(found("a.en", published=NOW - HOUR))
    run(store, source, NOW + HOUR)
    item = rows(store)["a.en"]
    assert (item.out_at, item.first_seen, item.published) == (NOW + HOUR, NOW, NOW - HOUR)


def test_out_moment_follows_date_and_embargo_until_passed(store: Store) -> None:
    source = MemorySource(found("a.en", published=NOW - HOUR, embargo=NOW + HOUR))
    run(store, source)
    assert rows(store)["a.en"].out_at == rows(store)["a.en"].changed == NOW + HOUR
    source.put(found("a.en", published=NOW - HOUR, embargo=NOW + 2 * HOUR))
    run(store, source, NOW + MINUTE)
    with store.read() as connection:
        assert next_visible_at(connection, NOW) == NOW + 2 * HOUR
        assert not [item for item in items.load_items(connection) if item.is_out(NOW + HOUR)]
        assert [item.ref for item in items.load_items(connection) if item.is_out(NOW + 2 * HOUR)] == ["a.en"]
        assert next_visible_at(connection, NOW + 2 * HOUR) is None
    assert rows(store)["a.en"].out_at == NOW + 2 * HOUR


def test_a_later_date_sends_nothing_again(store: Store) -> None:
    source = MemorySource(found("a.en", published=NOW - HOUR))
    run(store, source)
    source.put(found("a.en", published=NOW + 5 * HOUR))
    run(store, source, NOW + HOUR)
    item = rows(store)["a.en"]
    assert item.out_at == NOW and item.published == NOW + 5 * HOUR and not item.is_out(NOW + HOUR)


def test_a_bare_edit_changes_the_text_but_not_the_feed_date(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    source.put(found("a.en", title="A better title"))
    done = run(store, source, NOW + HOUR)
    item = rows(store)["a.en"]
    assert (
        done.changed == [item.id] and item.title == "A better title" and item.changed == NOW and item.published == NOW
    )


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"updated": NOW + HOUR}, NOW + HOUR),
        ({"updated": NOW - 9 * HOUR}, NOW + 2 * HOUR),  # a day alone: midnight is before the date in the feed
        ({"correction": "66, not 60."}, NOW + 2 * HOUR),
        ({"withdrawn": "In error."}, NOW + 2 * HOUR),
    ],
)
def test_a_significant_change_moves_the_feed_date(store: Store, values: dict[str, object], changed: datetime) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    source.put(found("a.en", **values))
    done = run(store, source, NOW + 2 * HOUR)
    item = rows(store)["a.en"]
    assert item.changed == changed and item.out_at == NOW
    assert item.corrected_at == (NOW + 2 * HOUR if "correction" in values else None)
    assert done.withdrawn == ([item.id] if "withdrawn" in values else [])


def test_a_correction_is_dated_when_its_text_appears_or_changes(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    for hours, text, expected in [(1, "One", 1), (2, "One", 1), (3, "Two", 3)]:
        source.put(found("a.en", correction=text, title=f"at {hours}"))
        run(store, source, NOW + hours * HOUR)
        assert rows(store)["a.en"].corrected_at == NOW + expected * HOUR


def test_feed_dates_are_distinct_in_a_language(store: Store) -> None:
    day = NOW - 24 * HOUR
    source = MemorySource(*(found(f"{name}.{language}", published=day) for name in "abc" for language in ("en", "ru")))
    run(store, source)
    english = sorted(item.changed for item in rows(store).values() if item.language == "en")
    assert english == [day, day + timedelta(seconds=1), day + timedelta(seconds=2)]
    assert [item.published for item in rows(store).values()] == [day] * 6
    source.put(*(found(f"{name}.en", published=day, updated=NOW) for name in "abc"))
    run(store, source, NOW + HOUR)
    assert len({item.changed for item in rows(store).values() if item.language == "en"}) == 3


def test_ids_keys_and_slugs_survive_renames_and_edits(store: Store) -> None:
    source = MemorySource(found("first.en", published=NOW), found("other.en"))
    run(store, source)
    before = rows(store)["first.en"]

    def kept(ref: str) -> None:
        after = rows(store)[ref]
        assert (after.id, after.story, after.slug, after.first_seen) == (before.id, "first", "first", before.first_seen)
        assert len(rows(store)) == 2

    source.move("first.en", "renamed.en")
    assert run(store, source, NOW + HOUR).moved == [before.id]
    kept("renamed.en")
    source.put(found("renamed.en", published=NOW, title="Other title", url="https://elsewhere.example/x"))
    run(store, source, NOW + 2 * HOUR)
    kept("renamed.en")
    assert rows(store)["renamed.en"].url == "https://elsewhere.example/x"
    del source.content["renamed.en"]  # moved to a folder and edited at the same time
    source.put(found("2023/first.en", title="Third title"))
    run(store, source, NOW + 3 * HOUR)
    kept("2023/first.en")
    del source.content["2023/first.en"]  # renamed and edited at the same time: title and date identify it
    source.put(found("quite-new.en", title="Third title", published=NOW, body="<p>New</p>"))
    run(store, source, NOW + 4 * HOUR)
    kept("quite-new.en")


def test_chained_and_swapped_names_keep_each_items_id(store: Store) -> None:
    source = MemorySource(found("a.en"), found("b.en"))
    run(store, source)
    ids = {item.title: item.id for item in rows(store).values()}
    source.move("b.en", "c.en")
    source.move("a.en", "b.en")
    run(store, source, NOW + HOUR)
    assert {ref: item.id for ref, item in rows(store).items()} == {"b.en": ids["Title of a"], "c.en": ids["Title of b"]}
    source.move("b.en", "spare.en")
    source.move("c.en", "b.en")
    source.move("spare.en", "c.en")
    run(store, source, NOW + 2 * HOUR)
    assert {ref: item.id for ref, item in rows(store).items()} == {"c.en": ids["Title of a"], "b.en": ids["Title of b"]}
    assert {item.story for item in rows(store).values()} == {"a", "b"}


def test_item_moved_over_another_keeps_its_id(store: Store) -> None:
    source = MemorySource(found("a.en"), found("b.en"))
    run(store, source)
    ids = {item.title: item.id for item in rows(store).values()}
    source.move("a.en", "b.en")
    run(store, source, NOW + HOUR)
    assert rows(store)["b.en"].id == ids["Title of a"]
    assert run(store, source, NOW + 2 * HOUR).gone == [ids["Title of b"]]


def test_an_explicit_id_identifies_an_item_in_any_place(store: Store) -> None:
    source = MemorySource(found("a.en", explicit_id="tag:x,1"))
    run(store, source)
    del source.content["a.en"]
    source.put(found("z.en", explicit_id="tag:x,1", title="All", body="<p>else</p>"))
    assert run(store, source, NOW + HOUR).moved == ["tag:x,1"]
    source.put(found("copy.en", explicit_id="tag:x,1", title="Copy"))
    done = run(store, source, NOW + 2 * HOUR)
    assert [problem.file for problem in done.problems] == ["z.en"] or [p.file for p in done.problems] == ["copy.en"]
    assert len(rows(store)) == 1


def test_an_id_written_into_a_known_item_keeps_everything_else(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    before = rows(store)["a.en"]
    source.put(found("a.en", explicit_id="tag:x,2"))
    run(store, source, NOW + HOUR)
    after = rows(store)["a.en"]
    assert after == dataclasses.replace(before, id="tag:x,2")


def test_translation_joins_its_renamed_namesake(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    source.move("a.en", "b.en")
    run(store, source, NOW + HOUR)
    source.put(found("b.ru"), found("a.en", title="Another story under the old name"))
    run(store, source, NOW + 2 * HOUR)
    stored = rows(store)
    assert stored["b.ru"].story == stored["b.en"].story == "a"
    assert stored["a.en"].story == "a-2" and stored["a.en"].slug == "a-2"


def test_later_story_key_joins_under_the_eldest_key(store: Store) -> None:
    source = MemorySource(found("english.en"))
    run(store, source)
    source.put(found("russian.ru"))
    run(store, source, NOW + HOUR)
    source.put(
        found("english.en", story="youth"), found("russian.ru", story="youth"), found("kazakh.kk", story="youth")
    )
    for hour in (2, 3):
        run(store, source, NOW + hour * HOUR)
        assert {item.story for item in rows(store).values()} == {"english"}


def test_second_file_of_a_story_and_language_is_refused(store: Store) -> None:
    source = MemorySource(found("a/x.en"), found("b/x.en", title="Second"))
    done = run(store, source)
    assert list(rows(store)) == ["a/x.en"]
    [problem] = done.problems
    assert problem.file == "b/x.en" and "a/x.en" in problem.message and problem.mend
    assert "set-aside:newsroom:b/x.en" in notices(store)
    del source.content["b/x.en"]
    run(store, source, NOW + HOUR)
    assert notices(store) == {}


def test_vanished_file_is_gone_after_two_sweeps_and_comes_back(store: Store) -> None:
    source = MemorySource(found("a.en"), found("b.en"))
    run(store, source)
    before = rows(store)["a.en"]
    one = source.content.pop("a.en")
    assert run(store, source, NOW + HOUR).gone == []
    assert run(store, source, NOW + HOUR + timedelta(seconds=59)).gone == []
    assert rows(store)["a.en"].gone_at is None
    assert run(store, source, NOW + HOUR + MINUTE).gone == [before.id]
    assert rows(store)["a.en"].gone_at == NOW + HOUR + MINUTE
    source.put(one)
    assert run(store, source, NOW + 2 * HOUR).back == [before.id]
    assert rows(store)["a.en"] == before


def test_absence_in_one_sweep_alone_is_forgotten(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    one = source.content.pop("a.en")
    run(store, source, NOW + HOUR)
    source.put(one)
    run(store, source, NOW + 2 * HOUR)
    del source.content["a.en"]
    assert run(store, source, NOW + 3 * HOUR).gone == []


def test_mass_vanishing_changes_nothing_until_a_person_accepts(store: Store) -> None:
    source = MemorySource(*(found(f"n{number}.en") for number in range(10)))
    run(store, source)
    for number in range(4):
        del source.content[f"n{number}.en"]
    source.put(found("new.en"))
    for hour in (1, 2):
        done = run(store, source, NOW + hour * HOUR)
        assert done.held and "4 of 10" in done.held and not done.has_changes and len(rows(store)) == 10
    assert list(notices(store)) == ["vanished:newsroom"]
    done = run(store, source, NOW + 3 * HOUR, accept=True)
    assert len(done.gone) == 4 and len(done.new) == 1 and done.held is None
    assert notices(store) == {}


@pytest.mark.parametrize(("of", "away", "held"), [(10, 3, False), (20, 4, False), (19, 4, True), (4, 4, True)])
def test_the_guard_is_more_than_three_and_more_than_a_fifth(store: Store, of: int, away: int, held: bool) -> None:
    source = MemorySource(*(found(f"n{number}.en") for number in range(of)))
    run(store, source)
    for number in range(away):
        del source.content[f"n{number}.en"]
    assert bool(run(store, source, NOW + HOUR).held) is held


def test_an_unreadable_source_changes_nothing_even_if_accepted(store: Store) -> None:
    source = MemorySource(found("a.en"))
    run(store, source)
    source.content, source.readable = {}, False
    for hour in (1, 2):
        done = run(store, source, NOW + hour * HOUR, accept=True)
        assert done.held and not done.has_changes
    assert rows(store)["a.en"].gone_at is None
    assert list(notices(store)) == ["vanished:newsroom"]


def test_broken_file_keeps_its_last_good_version(store: Store) -> None:
    source = MemorySource(found("a.en"), found("b.en"))
    run(store, source)
    source.broken = {"a.en": "no closing ---"}
    for hour in (1, 2, 3):
        run(store, source, NOW + hour * HOUR)
    assert rows(store)["a.en"].gone_at is None
    with store.read() as connection:
        [aside] = items.load_refused(connection)
    assert (
        (aside.ref, aside.since) == ("a.en", NOW + HOUR)
        and "no closing ---" in aside.problem
        and "Mend it" in aside.problem
    )
    assert list(notices(store)) == ["set-aside:newsroom:a.en"]
    source.broken = {"a.en": "another reason"}
    run(store, source, NOW + 4 * HOUR)
    with store.read() as connection:
        [aside] = items.load_refused(connection)
    assert aside.since == NOW + HOUR and "another reason" in aside.problem
    source.broken = {}
    run(store, source, NOW + 5 * HOUR)
    with store.read() as connection:
        assert items.load_refused(connection) == []


def test_a_renamed_source_keeps_its_items(store: Store) -> None:
    source = MemorySource(*(found(f"n{number}.en") for number in range(6)))
    run(store, source)
    before = {ref: item.id for ref, item in rows(store).items()}
    done = collect(store, {"content": source}, now=NOW + HOUR, url=URL)
    assert not done.held and not done.new
    assert {ref: item.id for ref, item in rows(store).items()} == before
    assert {item.source for item in rows(store).values()} == {"content"}


def test_another_site_url_moves_every_page(store: Store) -> None:
    source = MemorySource(found("a.en"), found("b.en", url="https://elsewhere.example/"))
    run(store, source)
    collect(store, {"newsroom": source}, now=NOW + HOUR, url="https://new.example/n/")
    assert rows(store)["a.en"].url == "https://new.example/n/en/a/"
    assert rows(store)["b.en"].url == "https://elsewhere.example/"


def test_a_decision_on_an_older_state_is_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes collect the same new file at once: one item."""
    source = MemorySource(found("a.en"))
    overtaken = []
    real = items.load_known

    def meanwhile(connection: object) -> list[KnownItem]:
        known = real(connection)  # type: ignore[arg-type]
        if not overtaken:
            overtaken.append(True)
            with monkeypatch.context() as inner:
                inner.setattr(items, "load_known", real)
                assert len(run(store, source).new) == 1
        return known

    monkeypatch.setattr(items, "load_known", meanwhile)
    done = run(store, source, NOW + HOUR)
    assert done.new == [] and len(rows(store)) == 1 and overtaken


def test_many_items_are_written_in_short_transactions(store: Store) -> None:
    source = MemorySource(*(found(f"n{number}.en", published=NOW - HOUR) for number in range(250)))
    assert len(run(store, source).new) == 250
    with store.read() as connection:
        assert items.items_version(connection) == 3
    assert len({item.changed for item in rows(store).values()}) == 250


REFS = st.sampled_from([f"{name}.{language}" for name in ("a", "b", "c", "d/a") for language in ("en", "ru")])
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), REFS, st.integers(0, 4)),
    st.tuples(st.just("move"), REFS, REFS),
    st.tuples(st.just("copy"), REFS, REFS),
    st.tuples(st.just("delete"), REFS, st.none()),
    st.tuples(st.just("sweep"), st.integers(1, 90), st.none()),
)


@given(st.lists(OPERATIONS, max_size=30))
@settings(max_examples=60)
def test_any_file_operations_keep_ids_and_slugs_unique(
    operations: list[tuple[str, object, object]],
) -> None:
    import tempfile

    serial = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/t.db", Path(folder))
        t.metadata.create_all(store.engine)
        source, now = MemorySource(), NOW
        minted: dict[str, tuple[str, datetime]] = {}
        for what, first, second in [*operations, ("sweep", 1, None)]:
            if what == "write":
                source.put(found(str(first), body=f"<p>{second}</p>", title="T"))
            elif what == "delete":
                source.content.pop(str(first), None)
            elif what in ("move", "copy") and first in source.content and first != second:
                if str(first)[-2:] == str(second)[-2:]:
                    one = source.content[str(first)]
                    source.move(str(first), str(second))
                    if what == "copy":
                        source.put(one)
            elif what == "sweep":
                now += timedelta(seconds=int(str(first)))
                collect(store, {"newsroom": source}, now=now, url=URL, accept=True, mint=lambda: f"id-{next(serial)}")
                stored = rows(store)
                everything = list(stored.values())
                assert len({item.id for item in everything}) == len(everything)
                assert len({(item.language, item.slug) for item in everything}) == len(everything)
                assert len({(item.language, item.story) for item in everything}) == len(everything)
                assert len({(item.language, item.changed) for item in everything}) == len(everything)
                assert set(minted) <= {item.id for item in everything}
                for item in everything:
                    assert minted.setdefault(item.id, (item.slug, item.first_seen)) == (item.slug, item.first_seen)
                present = [item for item in everything if item.gone_at is None]
                assert {item.ref for item in present} <= set(source.content)
                with store.read() as connection:
                    aside = {each.ref for each in items.load_refused(connection)}
                assert {item.ref for item in present} | aside == set(source.content)
                again = collect(store, {"newsroom": source}, now=now, url=URL, accept=True)
                assert not again.has_changes
        store.close()


def test_deciding_does_nothing() -> None:
    changes = decide_changes(
        Sweep((found("a.en"),)), (), source="newsroom", adopted=(), now=NOW, url=URL, mint=lambda: "id"
    )
    assert [row.item.id for row in changes.new] == ["id"] and not changes.rewritten
