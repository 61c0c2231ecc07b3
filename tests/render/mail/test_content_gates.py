"""The gates for parts of a draft in the readers' languages, and for contrast by day, by night and inverted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.render.mail.samples import SITE, document, many, message, parts
from tidings.model.edition import Selection
from tidings.render.mail.content_gates import check_contrast, find_leftovers, read_words
from tidings.render.palette import make_palette

FEW = many(4)
HTML = parts(message(document(FEW), Selection("en", FEW[0], tuple(FEW[1:]))))[1]
BLUE = make_palette("#0077b6")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Lorem ipsum dolor sit amet", "en"),
        ("TODO", "en"), ("The budget is TODO.", "en"), ("Le budget : TODO", "fr"), ("TODO: revisar", "es"),
        ("FIXME", "kk"), ("XXX people came", "en"), ("XXXX человек", "ru"), ("на [XXX] тенге", "ru"),
        ("[insert name]", "en"), ("[Insert quote from the minister here]", "en"), ("[name]", "en"), ("[TBC]", "en"),
        ("[to be confirmed]", "en"), ("[Your name]", "en"), ("Dear [First name],", "en"), ("[insert", "en"),
        ("[вставить цитату]", "ru"), ("[ФИО]", "ru"), ("[уточнить у министра]", "ru"), ("Здесь будет текст", "ru"),
        ("[сілтеме]", "kk"), ("[мәтінді енгізіңіз]", "kk"), ("[толтыру]", "kk"),
        ("[أدخل الاسم]", "ar"), ("[التاريخ]", "ar"), ("لوريم إيبسوم", "ar"),
        ("[à compléter]", "fr"), ("[insérer la citation]", "fr"), ("[nom]", "fr"),
        ("[insertar cita]", "es"), ("[por confirmar]", "es"), ("texto de relleno", "es"),
        ("【插入姓名】", "zh"), ("[待补充]", "zh"), ("此处插入图片", "zh"), ("［姓名］", "zh"),
        ("Dear {{ name }},", "en"), ("{% if lead %}", "en"), ("*|FNAME|*", "en"), ("${name}", "en"), ("%%name%%", "en"),
        ("See [[Other note]]", "en"), ("Hello {first_name}", "en"),
    ],
)  # fmt: skip
def test_a_part_of_a_draft_is_found(text: str, language: str) -> None:
    assert list(find_leftovers(f"Before it. {text} And after it.", language))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Todo el mundo", "es"), ("TODO EL PAÍS VOTA", "es"), ("Método", "es"), ("A to-do list", "en"),
        ("XXX Olympic Games", "en"), ("XXX сессия комитета", "ru"), ("XXXe anniversaire", "fr"), ("XXX-й съезд", "ru"),
        ("He said [in Russian] that", "en"), ("[sic]", "en"), ("[Photo] Flood in Atyrau", "en"), ("[1]", "en"),
        ("Опубликовано 1 мая [дополнено]", "ru"), ("The named city, updated", "en"), ("50 % {of} it", "en"),
        ("The venue is TBC", "en"), ("[nomination]", "en"), ("[namely this]", "en"), ("[dates]", "en"),
        ("Insert your card", "en"),
        ("The answer is {{ 7*7 }}", "en"), ("Curly {{ signs", "en"),
        ("Введите имя", "ru"), ("100%", "en"), ("[ссылками]", "ru"),
    ],
)  # fmt: skip
def test_an_ordinary_text_is_no_draft(text: str, language: str) -> None:
    assert list(find_leftovers(f"Before it. {text} And after it.", language)) == []


def test_code_is_not_a_draft() -> None:
    html = "<p>Write <code>{{ name }}</code> or</p><pre>TODO</pre><p>nothing.</p>"
    assert list(find_leftovers(read_words(html), "en")) == []
    assert "nothing." in read_words(html)


def test_the_shipped_template_is_readable_in_every_mode() -> None:
    assert list(check_contrast(HTML, BLUE)) == []


@pytest.mark.parametrize("colour", ["#0077b6", "#b3123a", "#1a7f37", "#5b21b6", "#000000", "#444444"])
def test_common_brand_colours_pass(colour: str) -> None:
    assert list(check_contrast(_branded(colour), make_palette(colour))) == []


@pytest.mark.parametrize("colour", ["#ffcc00", "#00aa00", "#7fff00"])
def test_a_brand_colour_that_inversion_spoils_is_named(colour: str) -> None:
    """A yellow keeps its lightness when a mail program inverts it, and the dark text on it becomes light."""
    failures = list(check_contrast(_branded(colour), make_palette(colour)))
    assert failures
    assert all("inverts colours" in each.detail and "site.colour" in each.mend for each in failures)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ('<p style="color: #222222">dark words</p>', "in dark mode"),
        ('<font color="black">dark words</font>', "in dark mode"),
        ('<p style="color:#999">pale words</p>', "#999999 on #ffffff"),
        ('<p style="background: rgb(255, 255, 200)">no ink</p>', "in dark mode"),
        ('<td bgcolor="#eeeeee">no ink</td>', "in dark mode"),
        ('<p style="background:#808080;color:#ffffff">grey</p>', "of 4.5"),
    ],
)
def test_colours_of_an_own_template_are_looked_at(part: str, words: str) -> None:
    page = f'<html><body><table><tr><td class="cell paper" style="background-color:#ffffff">{part}</td></tr></table>'
    failures = [failure.detail for failure in check_contrast(page, BLUE)]
    assert any(words in detail for detail in failures), failures


def test_hidden_and_coloured_parts_are_fine() -> None:
    page = (
        '<html><body><p style="display:none;color:#fff">x</p><p style="color:#fff;background:#003">y</p></body></html>'
    )
    assert list(check_contrast(page, BLUE)) == []


def _branded(colour: str) -> str:
    few = document(FEW, site=replace(SITE, colour=colour))
    return parts(message(few, Selection("en", FEW[0], tuple(FEW[1:]))))[1]
