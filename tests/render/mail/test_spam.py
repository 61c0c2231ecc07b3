"""SpamAssassin's local rules accept the shipped templates."""

from __future__ import annotations

import pytest

from tests.render.mail.samples import document, item, many, message
from tests.servers.judges import spamassassin
from tidings.model.edition import Selection


def score(raw: bytes) -> tuple[float, set[str]]:
    """Return the points, and the rules that gave them."""
    verdict = spamassassin(raw)
    return verdict.score, set(verdict.rules)


@pytest.mark.slow
@pytest.mark.parametrize("template", ["digest", "press", "alert"])
def test_local_rules_give_at_most_minus_0_9(template: str) -> None:
    items = many(8)
    selection = Selection("en", items[0], tuple(items[1:])) if template == "digest" else Selection("en", items[0])
    points, rules = score(message(document(items, template=template), selection))
    assert points <= -0.9, rules
    assert "MAILING_LIST_MULTI" in rules


@pytest.mark.slow
def test_preheader_and_base64_cost_no_spam_points() -> None:
    """MIXED_ES (+1.0) looks for disguised letters, and mistakes Cyrillic text beside Latin URLs for them."""
    title = "Три села получили чистую воду из нового горного трубопровода"
    items = [item(f"s{n}", language="ru", title=title, summary=f"{title}. " * 3) for n in range(6)]
    doc = document(items, language="ru", subject="{{ lead.title }}")
    points, rules = score(message(doc, Selection("ru", items[0], tuple(items[1:]))))
    assert points <= (0.1 if "MIXED_ES" in rules else -0.9), rules
    assert rules.isdisjoint({"FONT_INVIS_MSGID", "MIME_BASE64_TEXT", "MIME_BASE64_BLANKS", "HTML_FONT_LOW_CONTRAST"})
