"""Who caused a refusal? Replies in the styles of many servers, in eight languages, with addresses that mislead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fixtures.growth import is_slow
from tidings.model.refusal import MAX_TEXT, Effect, Fault, RefusalKind, _table, classify

ROOT = Path(__file__).parents[2]
READERS = ("ada@example.net", "policy@blocked.example", "relay@quota.example", "unknown@no-such-user.example")
"""Words of an address may not change the result."""
NAMED = ("jsmith@example.net", "anna.weber@mail.example.net", "info7@example.net")
"""Readers whom a reply calls by the local part alone."""


class Sample(NamedTuple):
    """One reply, and its meaning: gone, off, full, away, us, living or unknown."""

    sender: str
    about: str
    text: str

    @property
    def readers(self) -> tuple[str, ...]:
        """The addresses that it can be about."""
        return NAMED if "{l}" in self.text else READERS

    def said_of(self, reader: str) -> str:
        """Return the reply about this reader."""
        local, _, domain = reader.partition("@")
        return self.text.replace("{r}", reader).replace("{l}", local).replace("{d}", domain)


def samples() -> Iterator[Sample]:
    """Return the replies of `refusals.txt`."""
    for line in (Path(__file__).parent / "refusals.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            sender, about, text = (part.strip() for part in line.split("|", 2))
            yield Sample(sender, about, text)


@cache
def _effects(sample: Sample) -> set[Effect]:
    return {classify(sample.said_of(reader), recipient=reader).effect for reader in sample.readers}


def counted() -> Counter[str]:
    """Return the text of the guarantees about the samples."""
    counts: Counter[str] = Counter()
    for sample in samples():
        counts["samples"] += 1
        counts[sample.about] += 1
        if sample.about == "gone":
            counts["missed"] += _effects(sample) != {Effect.HARD}
        else:
            counts["wrong"] += Effect.HARD in _effects(sample)
    counts["senders"] = len({sample.sender for sample in samples()})
    return counts


def test_nobody_is_suppressed_by_doubtful_words() -> None:
    wrong = [sample for sample in samples() if sample.about != "gone" and Effect.HARD in _effects(sample)]
    assert wrong == []


def test_few_dead_mailboxes_are_missed() -> None:
    gone = [sample for sample in samples() if sample.about == "gone"]
    missed = [sample for sample in gone if _effects(sample) != {Effect.HARD}]
    assert len(missed) <= 0.05 * len(gone), missed


def test_a_readers_own_address_does_not_steer() -> None:
    for sample in samples():
        assert len(_effects(sample)) == 1, sample


def test_a_refusal_about_us_never_counts_against_a_reader() -> None:
    assert [sample for sample in samples() if sample.about == "us" and _effects(sample) != {Effect.BLOCKED}] == []
    trouble = [sample for sample in samples() if sample.about in ("off", "full", "away")]
    assert [sample for sample in trouble if _effects(sample) != {Effect.SOFT}] == []


def test_the_guarantees_show_these_counts() -> None:
    counts = counted()
    row = (
        f"| {counts['samples']} | {counts['senders']} | {counts['gone']} | {counts['missed']} | {counts['us']} "
        f"| {counts['full'] + counts['away']} | {counts['off']} | {counts['unknown'] + counts['living']} "
        f"| {counts['wrong']} |"
    )
    assert counts["samples"] >= 300
    assert counts["senders"] >= 40
    assert row in (ROOT / "docs/guarantees.md").read_text("utf-8"), row


def test_the_table_for_people_has_every_kind() -> None:
    page = (ROOT / "docs/howto/bounces.md").read_text("utf-8")
    assert {kind for kind in RefusalKind if f"| `{kind}` |" not in page} == set()


@pytest.mark.parametrize(
    ("text", "stage", "kind"),
    [
        ("550 5.1.1 no such user", "RCPT", RefusalKind.GONE),
        ("550 5.1.1 no such user", "MAIL", RefusalKind.SENDER),
        ("550 mailbox unavailable", "RCPT", RefusalKind.GONE),
        ("550 mailbox unavailable", "end of message", RefusalKind.UNKNOWN),
        ("550 5.1.1 nope", "end of message", RefusalKind.UNKNOWN),
        ("450 4.1.1 user unknown", "RCPT", RefusalKind.BUSY),
    ],
)
def test_the_stage_matters(text: str, stage: str, kind: RefusalKind) -> None:
    assert classify(text, stage=stage).kind is kind


@pytest.mark.parametrize(
    ("text", "status", "code", "effect"),
    [
        ("550 No such user here (Exim 4.94.2)", "", "5.0.0", Effect.HARD),
        ("552 5.2.2 Over quota", "5.1.1", "5.2.2", Effect.SOFT),
        ("550 Hosszú szöveg, amit senki sem ért", "5.1.1", "5.1.1", Effect.BLOCKED),
        ("550", "5.1.1", "5.1.1", Effect.HARD),
        ("unknown", "5.1.1", "5.1.1", Effect.HARD),
    ],
)
def test_the_remote_servers_code_beats_the_reporters(text: str, status: str, code: str, effect: Effect) -> None:
    refusal = classify(text, status=status)
    assert (refusal.code, refusal.effect) == (code, effect)


@pytest.mark.parametrize(
    "told",
    [
        "550 5.1.1 user unknown{}",
        "550 5.1.1 <ada@example.net>: the mailbox{} does not exist",
        "550 unknown{} recipient",
        "550 5.1.1 Der Empfänger{} existiert nicht",
        "550 5.1.1 L'adresse{} n'existe pas",
        "550 5.1.1 Пользователь{} не найден",
        "550 5.1.1 用户{}不存在",
    ],
)
def test_an_unknown_word_suppresses_nobody(told: str) -> None:
    assert classify(told.format(""), recipient="ada@example.net").kind is RefusalKind.GONE
    for word in (" zork", " тщц", " 龘", " at Capacity", ": at Zork"):
        assert classify(told.format(word), recipient="ada@example.net").kind is RefusalKind.UNKNOWN


def _sentences() -> Iterator[str]:
    for line in (Path(__file__).parent / "gone_sentences.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            language, beginnings, endings = (part.strip() for part in line.split("|"))
            space = "" if language in ("zh", "ja") else " "
            for beginning, ending in product(beginnings.split(";"), endings.split(";")):
                yield f"{beginning.strip()}{space}{ending.strip()}"


@pytest.mark.parametrize("code", ["550 5.1.1", "550"])
def test_ordinary_sentences_about_a_gone_mailbox_are_read(code: str) -> None:
    texts = [f"{code} {sentence.replace('{r}', f'<{NAMED[0]}>')}" for sentence in _sentences()][::2]
    missed = [text for text in texts if classify(text, recipient=NAMED[0]).kind is not RefusalKind.GONE]
    assert len(texts) > 2000
    assert len(missed) <= 0.01 * len(texts), missed


_TURNING = """
    until till unless if while when before after only yet still again temporarily temporary currently presently today
    tomorrow tonight soon later meanwhile Monday weekend August pending migrating maintenance syncing offline backup
    unsubscribed unverified unconfirmed you your except during paused vacation held whitelist limit quota rate spam
    blocked relay login sender policy strangers licence IPv6
    bis solange vorübergehend derzeit zurzeit heute morgen bald später noch falls sofern wenn während wartung umzug
    urlaub gesperrt absender ihr ihre ihren jusqu temporairement actuellement provisoirement demain bientôt encore tant
    lorsque sauf pendant avant après maintenance vacances expéditeur votre vos trop hasta temporalmente actualmente
    mañana pronto todavía aún salvo mientras antes después remitente demasiados fino temporaneamente attualmente domani
    presto ancora mentre prima dopo manutenzione mittente vostro até temporariamente atualmente amanhã hoje ainda
    enquanto depois manutenção remetente пока временно сейчас сегодня завтра скоро позже ещё снова если кроме перед
    после отпуске отправитель ваш ваша слишком уақытша қазір бүгін ертең кейін егер tijdelijk momenteel vandaag straks
    later tot tenzij tijdens afzender uw tillfälligt tills imorgon snart avsändare midlertidig inntil tymczasowo
    chwilowo dopóki jutro wkrótce przed nadawca dočasně dokud zítra brzy ještě odesílatel geçici şimdilik yarın henüz
    kadar gönderen тимчасово поки зараз завтра відправник ideiglenesen jelenleg holnap még feladó temporar momentan
    încă expeditor προσωρινά τώρα αύριο ακόμη αποστολέας väliaikaisesti huomenna lähettäjä 暂时 目前 直到 明天 稍后 之前
    期间 维护 迁移 如果 除非 您的 发件人 一時的 現在のところ 明日 後ほど 移行 送信者 일시적
    현재 내일 나중에 아직 점검 발신자 مؤقتا حاليا حتى غدا بعد المرسل
"""
"""A word about time, a condition or us. None of them may become harmless."""


@pytest.mark.parametrize("code", ["550 5.1.1", "550"])
def test_a_word_that_can_turn_the_meaning_leaves_the_reader(code: str) -> None:
    for word in _TURNING.split():
        for text in (f"user unknown {word}", f"{word} no such mailbox", f"the address {word} does not exist"):
            assert classify(f"{code} {text}", recipient=NAMED[0]).kind is not RefusalKind.GONE, text


def test_no_word_turns_what_two_clauses_say() -> None:
    reply = "550 5.1.1 The customer{} ended the zork, and the mailbox was deleted"
    assert classify(reply.format(""), recipient=NAMED[0]).kind is RefusalKind.GONE
    for word in _TURNING.split():
        assert classify(reply.format(f" {word}"), recipient=NAMED[0]).kind is not RefusalKind.GONE, word


@pytest.mark.parametrize(
    "told",
    [
        "550 The zork ended, and the mailbox was deleted",
        "550 5.1.1 The zork ended, and the mailbox was deleted",
        "550 5.1.1 The customer zorked, and the mailbox was deleted",
        "550 5.1.1 The customer ended the zork, and the mailbox is unknown",
        "550 5.1.1 The customer ended the zork, and the zork mailbox was deleted",
        "550 5.1.1 The mailbox was deleted, and the customer ended the zork",
    ],
)
def test_a_clause_with_an_unknown_word_needs_another(told: str) -> None:
    assert classify(told, recipient=NAMED[0]).kind is RefusalKind.UNKNOWN


@pytest.mark.parametrize(
    ("text", "stage", "kind"),
    [
        ("550 5.2.1 The email account that you tried to reach is disabled.", "RCPT", RefusalKind.DISABLED),
        ("550 5.1.1 mailbox is inactive", "RCPT", RefusalKind.DISABLED),
        ("550 account is not active", "RCPT", RefusalKind.DISABLED),
        ("550 5.1.1 Das Postfach wurde deaktiviert", "RCPT", RefusalKind.DISABLED),
        ("550 5.1.1 Учётная запись отключена", "RCPT", RefusalKind.DISABLED),
        ("550 5.1.1 mailbox does not exist or is disabled", "RCPT", RefusalKind.DISABLED),
        ("550 5.1.1 mailbox is disabled and was deleted", "RCPT", RefusalKind.GONE),
        ("550 5.1.1 mailbox permanently disabled", "RCPT", RefusalKind.GONE),
        ("550 5.1.1 mailbox is no longer active", "RCPT", RefusalKind.GONE),
        ("550 account is disabled", "MAIL", RefusalKind.SENDER),
    ],
)
def test_a_disabled_mailbox_is_not_gone(text: str, stage: str, kind: RefusalKind) -> None:
    """RFC 3463 §3.3: a mailbox that is disabled (X.2.1) exists, and may be enabled again."""
    assert classify(text, stage=stage, recipient=NAMED[0]).kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("450 user unknown", RefusalKind.BUSY),
        ("450 http://blocklist.example/?ip=203.0.113.9", RefusalKind.BUSY),
        ("550 Domain does not exist: example.org", RefusalKind.UNKNOWN),
        ("550 Host unknown", RefusalKind.UNKNOWN),
        ("550 user unknown", RefusalKind.GONE),
    ],
)
def test_a_reporter_makes_no_reply_permanent_or_about_readers(text: str, kind: RefusalKind) -> None:
    assert classify(text, status="5.1.1", recipient="ada@example.net").kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("550 domain does not exist: elsewhere.example", RefusalKind.UNKNOWN),
        ("550 5.1.2 domain does not exist", RefusalKind.GONE),
        ("550 domain example.net does not exist", RefusalKind.GONE),
        ("550 Unknown user (in reply to end of DATA command)", RefusalKind.UNKNOWN),
        ("550 Unknown user (in reply to RCPT TO command)", RefusalKind.GONE),
    ],
)
def test_a_refusal_about_somebody_else_suppresses_nobody(text: str, kind: RefusalKind) -> None:
    assert classify(text, recipient="ada@example.net").kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("550 Unknown local part zora in <zora@example.net>", RefusalKind.GONE),
        ("550 zora (zora@example.net) not found in the directory", RefusalKind.GONE),
        ("550 No such user zora", RefusalKind.GONE),
        ("550 5.1.1 El buzón zora no existe", RefusalKind.GONE),
        ("550 zora is not a known user", RefusalKind.GONE),
        ("550 5.1.1 Ms Zora Neale is no longer with the company", RefusalKind.GONE),
        ("550 收件人不存在：zora@example.net", RefusalKind.GONE),
        ("550 用户不存在zora@example.net", RefusalKind.GONE),
        ("550 5.1.1 user unknown at Christmas", RefusalKind.UNKNOWN),
        ("550 5.1.1 The colleague has left the company", RefusalKind.GONE),
        ("550 5.1.1 The user left the roster", RefusalKind.UNKNOWN),
        ("550 5.1.1 Le destinataire a quitté la liste", RefusalKind.UNKNOWN),
        ("550 5.1.1 This user is no longer in the cache", RefusalKind.UNKNOWN),
        ("550 Mailbox unavailable at Maintenance", RefusalKind.UNKNOWN),
        ("550 5.1.1 No such Zork account", RefusalKind.UNKNOWN),
        ("550 5.1.1 user unknown in our Zork directory", RefusalKind.UNKNOWN),
        ("550 5.1.1 user unknown zora", RefusalKind.UNKNOWN),
        ("550 5.1.1 user zora unknown for <bob@example.net>", RefusalKind.UNKNOWN),
    ],
)
def test_a_readers_name_beside_the_address_is_known(text: str, kind: RefusalKind) -> None:
    assert classify(text, recipient="zora@example.net").kind is kind


def test_every_kind_has_a_fault_and_ours_have_a_remedy() -> None:
    assert {kind.fault for kind in RefusalKind} == set(Fault)
    for kind in RefusalKind:
        assert bool(kind.mend) == kind.waits
        assert not kind.waits or kind.fault is Fault.US


def test_a_long_text_is_cut() -> None:
    refusal = classify("user " * 100_000 + "unknown")
    assert len(refusal.text) == MAX_TEXT
    assert re.fullmatch(r"(user )+", refusal.text)


@pytest.mark.parametrize("part", ["no user ", "sender ", "mailbox is ", "нет адрес ", "不存在", "not have an ", "("])
def test_the_words_take_linear_time(part: str) -> None:
    for _, pattern in _table().kinds:
        assert not is_slow(pattern.search, lambda n: part * n)


@pytest.mark.parametrize("step", ["RCPT", "DATA", "end of message"])
def test_the_step_that_our_sender_names_is_no_word_of_the_server(step: str) -> None:
    refusal = classify(f"550 5.1.1 no such user ({step})", stage=step, recipient="ada@example.org")
    assert refusal.kind is RefusalKind.GONE
