"""Gates on the words and colours of a mail or post: leftovers of a draft, and contrast in dark mode."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator
from typing import Final

from lxml import etree
from PIL import ImageColor

from tidings.render.mail.gates import GateFailure
from tidings.render.palette import AA, INK, NIGHT, PAPER, Palette, contrast

_LEGIBLE: Final = 3.0
"""Least contrast after a mail program has changed the colours: the value for large text in WCAG 2.2 (1.4.3)."""
_OPEN, _CLOSE = r"[\[【［]\s*", r"[^\[\]【】［］\n]{0,60}[\]】］]"
_ORDERS: Final = (
    "insert|fill in|to be (?:added|completed|confirmed|defined|decided)|placeholder|your [a-z]+|tb[acd]",
    "вставить|вставьте|вставка|добавить|добавьте|указать|укажите|заполнить|заполните|уточнить|дополнить",
    "енгізіңіз|енгізу|қосыңыз|қосу керек|қойыңыз|толтырыңыз|толтыру|нақтылау",
    "أدخل|أدرج|إدراج|أضف|إضافة|يُضاف|يضاف لاحقا",
    "insérer|insérez|ajouter|ajoutez|à compléter|compléter|à préciser|à confirmer|votre [a-zà-ÿ]+",
    "insertar|inserte|añadir|agregar|completar|por completar|por confirmar|su nombre",
    "插入|填写|填入|添加|待补充|待定|待确认|在此|此处",
)
"""First words of notes in brackets, in English, Russian, Kazakh, Arabic, French, Spanish and Chinese."""
_NAMES: Final = (
    "(?:first |last |full )?name|date|link|url|title|headline|city|number|quote",
    "имя|фио|дата|ссылка|название|заголовок|город|цитата",
    "аты-жөні|аты|күні|сілтеме|тақырып|атауы",
    "الاسم|اسم|التاريخ|تاريخ|الرابط|رابط|العنوان|عنوان",
    "nom|prénom|lien|titre|ville|citation",
    "nombre|fecha|enlace|título|ciudad|cita",
    "姓名|名字|日期|链接|标题|城市",
)
_PHRASES: Final = (
    r"lorem\s+ipsum|dolor\s+sit\s+amet",
    "your text here|text goes here|placeholder text|insert (?:text|name|title|link|quote|photo) here",
    "здесь будет текст|текст[- ]рыба|рыба[- ]текст|вставьте текст|сюда вставить",
    "мәтін осында|осында мәтін|мәтінді енгізіңіз",
    "لوريم إيبسوم|نص تجريبي|أدخل النص هنا|ضع النص هنا|هذا النص هو مثال",
    "texte à venir|faux[- ]texte|votre texte ici",
    "texto de relleno|texto de ejemplo|su texto aquí|inserte (?:el )?texto",
    "在此输入|此处输入|此处插入|占位符|占位文字|示例文本|待补充",
)
_LEFTOVERS: Final = re.compile(
    rf"{_OPEN}(?:{'|'.join(_ORDERS)})(?!\w)[^\[\]【】［］\n]{{0,60}}[\]】］]?"
    rf"|{_OPEN}(?:插入|填写|填入|添加|待补充|待定|待确认|在此|此处){_CLOSE}"
    rf"|{_OPEN}(?:{'|'.join(_NAMES)})(?: here| ici| aquí)?\s*[\]】］]"
    rf"|{'|'.join(_PHRASES)}",
    re.IGNORECASE,
)
_BRACKET: Final = re.compile(r"[\[【［]")
_PHRASE: Final = re.compile("|".join(_PHRASES))
"""For texts in lower case: a case-insensitive search is several times slower."""
_MARKS: Final = re.compile(r"\b(?:TODO|FIXME|TKTK|X{3,})\b(?P<rest>.{0,3})", re.DOTALL)
_BRACES: Final = re.compile(
    r"\{\{-?\s?[^\W\d][\w .|-]{0,40}\}\}|\{%-?\s?(?:if|else|elif|end\w+|for|set|include|block)\b"
    r"|\$\{\w+\}|\*\|[A-Z0-9_:]{2,40}\|\*|%%[A-Za-z_]{2,40}%%|\[\[[^\[\]\n]{1,60}\]\]"
    r"|\{(?:first_?name|last_?name|name|date|link|title|url|email|subject)\}",
    re.IGNORECASE,
)
_TODO_IS_A_WORD: Final = frozenset({"es", "pt", "gl", "it", "ca"})
_CODE: Final = ("code", "pre", "kbd", "samp", "script", "style", "template")


def find_leftovers(text: str, language: str) -> Iterator[str]:
    """Yield each leftover of a draft in a text: 'Lorem ipsum', TODO, `[insert ...]`, `{{ name }}`."""
    if _BRACKET.search(text) or _PHRASE.search(text.lower()):
        for match in _LEFTOVERS.finditer(text):
            yield " ".join(match[0].split())
    for match in _MARKS.finditer(text):
        if not _is_word(match, text, language):
            yield match[0].removesuffix(match["rest"])
    for match in _BRACES.finditer(text):
        yield " ".join(text[match.start() : match.start() + 30].split("\n")[0].split())


def find_item_leftovers(title: str, summary: str, body: str, language: str) -> list[str]:
    """Return the first three different leftovers of an item. `body` is HTML."""
    texts = (title, summary, read_words(body))
    return list(dict.fromkeys(words for text in texts for words in find_leftovers(text, language)))[:3]


def _is_word(match: re.Match[str], text: str, language: str) -> bool:
    """Whether a draft mark is a normal word here: TODO in Spanish, XXX as the Roman number thirty."""
    mark, rest = match[0].removesuffix(match["rest"]), match["rest"]
    before = text[max(0, match.start() - 1) : match.start()]
    base = language.partition("-")[0]
    if mark == "TODO":
        return base in _TODO_IS_A_WORD and not rest.startswith(":") and before not in ("[", "(")
    if mark != "XXX":
        return False
    # "XXX Olympic Games", "XXX сессия", "XXXe anniversaire"; but "XXX people", "XXX %", "[XXX]".
    following = rest[1:2] if rest[:1].isspace() or rest[:1] in "-–" else ""
    return following.isalpha() and (base != "en" or following.isupper())


def read_words(html: str) -> str:
    """Return the visible text of HTML, without code."""
    if not html.strip():
        return ""
    root = etree.fromstring(html.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8"))
    if root is None:
        return ""
    for element in list(root.iter(*_CODE)):
        tail, parent, before = element.tail or "", element.getparent(), element.getprevious()
        if parent is not None:
            if before is not None:
                before.tail = (before.tail or "") + " " + tail
            else:
                parent.text = (parent.text or "") + " " + tail
            parent.remove(element)
    return "\n".join(text for text in root.itertext() if isinstance(text, str))


def read_links(html: str) -> Iterator[str]:
    """Yield the web addresses that HTML links to."""
    if "<a" not in html:
        return
    root = etree.fromstring(html.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8"))
    for link in root.iter("a") if root is not None else ():
        if (href := link.get("href") or "").startswith(("http://", "https://")):
            yield href


# -- contrast ----------------------------------------------------------------------------------------------------------


def check_contrast(html: str, palette: Palette) -> Iterator[GateFailure]:
    """Check the contrast of a mail in light mode, in its own dark mode, and with inverted colours."""
    root = etree.fromstring(html.encode(), etree.HTMLParser(encoding="utf-8"))
    body = root.find("body") if root is not None else None
    worst: dict[tuple[str, str], tuple[float, str]] = {}
    """Contrast and detail of the worst pair of colours, by case and mend."""
    for text, ink, ground, night_ink, night_ground in _walk(body, palette) if body is not None else ():
        is_brand = bool({palette.brand, palette.accent} & {ink, ground})
        mend = "choose a darker or lighter `site.colour`" if is_brand else "change its colours in the template"
        for case, first, second, least in (
            ("", ink, ground, AA),
            (" in dark mode", night_ink, night_ground, _LEGIBLE),
            (" where a mail program inverts colours", _invert(ink), _invert(ground), _LEGIBLE),
        ):
            ratio = contrast(first, second)
            if ratio < least and ratio < worst.get((case, mend), (AA, ""))[0]:
                detail = f"the text {text!r} is {first} on {second}{case}: the contrast is {ratio:.1f} of {least:g}"
                worst[case, mend] = ratio, detail
    for (_, mend), (_, detail) in worst.items():
        yield GateFailure("contrast", detail, mend)


def _walk(body: etree._Element, palette: Palette) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield each text with its colours in light and dark mode: (text, ink, ground, dark ink, dark ground)."""
    inks, grounds = list(_night_inks(palette).items())[::-1], list(_night_grounds(palette).items())[::-1]
    stack: list[tuple[etree._Element, tuple[str, str, str, str]]] = [(body, (INK, PAPER, palette.ink_dark, NIGHT))]
    while stack:
        element, inherited = stack.pop()
        if not isinstance(element.tag, str):
            continue
        style = _read_style(element)
        if style.get("display") == "none" or element.tag in ("style", "script", "title"):
            continue
        ink, ground, night_ink, night_ground = inherited
        if own := _colour(style.get("color") or (element.get("color") if element.tag == "font" else "")):
            ink = night_ink = own
        if own := _colour(style.get("background-color") or style.get("background") or element.get("bgcolor")):
            ground = night_ground = own
        classes = (element.get("class") or "").split()
        night_ink = next((colour for name, colour in inks if name in classes), night_ink)
        night_ground = next((colour for name, colour in grounds if name in classes), night_ground)
        colours = (ink, ground, night_ink, night_ground)
        stack += [(child, colours) for child in element]
        words = " ".join(" ".join([element.text or "", *(child.tail or "" for child in element)]).split())
        if any(sign.isalnum() for sign in words):
            yield (words[:40], *colours)


def _night_inks(palette: Palette) -> dict[str, str]:
    """Return the text colours of the shipped templates in dark mode, by class. The last matching class wins."""
    return {
        **dict.fromkeys(("cell", "ink", "body"), palette.ink_dark),
        **dict.fromkeys(("above", "foot", "muted"), palette.muted_dark),
        **dict.fromkeys(("accent", "link"), palette.accent_dark),
        **dict.fromkeys(("on", "brand"), palette.on_brand),
    }


def _night_grounds(palette: Palette) -> dict[str, str]:
    """Return the background colours of the shipped templates in dark mode, by class."""
    return {
        **dict.fromkeys(("ground", "above", "foot"), palette.ground_dark),
        "paper": palette.paper_dark,
        "brand": palette.brand,
        "box": palette.tint_dark,
        "chip": PAPER,
    }


def _read_style(element: etree._Element) -> dict[str, str]:
    pairs = (part.partition(":") for part in (element.get("style") or "").split(";"))
    return {name.strip().lower(): value.strip() for name, sign, value in pairs if sign}


def _colour(written: str | None) -> str:
    """Return a colour as `#rrggbb`, or '' for other values."""
    try:
        red, green, blue, *alpha = ImageColor.getrgb((written or "").removesuffix("!important").strip())
    except ValueError:
        return ""
    return "" if alpha and alpha[0] < 128 else f"#{red:02x}{green:02x}{blue:02x}"


def _invert(colour: str) -> str:
    """Invert the lightness of a colour and keep its hue, like mail programs that make every mail dark."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    turned = colorsys.hls_to_rgb(hue, 1 - lightness, saturation)
    return "#{:02x}{:02x}{:02x}".format(*(round(level * 255) for level in turned))
