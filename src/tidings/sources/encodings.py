"""Decode pages and feeds as browsers do: a byte order mark, the HTTP header, the document's own word, then a guess.

Encoding Standard of the WHATWG (encoding.spec.whatwg.org §4.2, §6.1) and HTML §13.2.3.
"""

from __future__ import annotations

import codecs
import re

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_XML_IN_UTF16 = ((b"\0<\0?\0x", "utf-16-be"), (b"<\0?\0x\0", "utf-16-le"))
# Labels that browsers read as a larger encoding, or that Python knows by another name.
_LABELS = {
    "ascii": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "l1": "cp1252",
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "x-user-defined": "cp1252",
    "iso-8859-9": "cp1254", "latin5": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "gb2312": "gb18030",
    "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932",
    "sjis": "cp932", "x-sjis": "cp932", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "big5": "big5hkscs",
    "x-mac-cyrillic": "mac_cyrillic", "koi8": "koi8-r", "koi": "koi8-r", "unicode-1-1-utf-8": "utf-8", "utf8": "utf-8",
    "utf-16": "utf-16-le", "iso8859-9": "cp1254", "iso8859-11": "cp874", "euc_kr": "cp949", "iso-8859-8-i": "iso8859-8",
    "logical": "iso8859-8", "windows-31j": "cp932", "cn-big5": "big5hkscs", "x-x-big5": "big5hkscs",
    "x-euc-jp": "euc_jp", "x-mac-roman": "mac-roman", "x-mac-ukrainian": "mac-cyrillic",
}  # fmt: skip
_KNOWN = re.compile(
    r"utf-(?:8|16-[lb]e)|cp\d{3,4}|iso8859-\d{1,2}|koi8-[rut]|mac-\w+|euc_\w+|gb18030|big5hkscs|iso2022_jp|ptcp154|kz1048"
)
"""Python's names of encodings in which pages are written. Others, such as UTF-7, hide scripts."""
_CHARSET = re.compile(r"charset\s*=\s*+[\"']?\s*+([\w.:+-]{1,40})", re.IGNORECASE)
_META = re.compile(rb"<meta\b[^<>]{0,400}?charset\s*=\s*+[\"']?\s*+([\w.:+-]{1,40})", re.IGNORECASE)
_DECLARED = re.compile(rb"^\s*<\?xml\b[^<>]{0,200}?\bencoding\s*=\s*[\"']([\w.:+-]{1,40})[\"']")
_DECLARATION = re.compile(r"^\s*<\?xml\b[^<>]{0,400}\?>")
_CYRILLIC_WORD = re.compile(rb"[\xc0-\xff\xa8\xb8]{3,}")


def decode_document(body: bytes, content_type: str) -> str:
    """Return the text of a web page or an XML document, without its byte order mark and XML declaration."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return _DECLARATION.sub("", body[len(mark) :].decode(encoding, "replace"))
    for begin, encoding in _XML_IN_UTF16:
        if body.startswith(begin):
            return _DECLARATION.sub("", body.decode(encoding, "replace"))
    header = _CHARSET.search(content_type)
    own = _DECLARED.search(body[:1024]) or _META.search(body[:4096])
    labels = (header[1] if header else "", own[1].decode("ascii") if own else "")
    encodings = (find_codec(label, is_own=number == 1) for number, label in enumerate(labels) if label)
    encoding = next(filter(None, encodings), None) or guess_codec(body)
    return _DECLARATION.sub("", body.decode(encoding, "replace").lstrip("\ufeff"))


def find_codec(label: str, *, is_own: bool = False) -> str | None:
    """Return Python's codec for a label, or None. `is_own`: the label is in the page itself, so it cannot be UTF-16."""
    name = label.strip().lower()
    name = re.sub(r"^(?:windows|win|dos|ibm|x-cp)-?(?=\d)", "cp", _LABELS.get(name, name))
    if is_own and name.startswith("utf-16"):
        return "utf-8"
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None
    codec = _LABELS.get(codec, codec)
    return codec if _KNOWN.fullmatch(codec) else None


def is_utf8(body: bytes) -> bool:
    """Whether the bytes are UTF-8. A letter that is cut off at the end does not count."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def is_mostly_utf8(body: bytes) -> bool:
    """Whether the bytes are UTF-8 with a few broken letters, such as a summary that was cut inside of a letter."""
    broken = body.decode("utf-8", "replace").count("\ufffd") - body.count("\ufffd".encode())
    return broken * 10 <= sum(byte >= 0xC0 for byte in body)


def guess_codec(body: bytes) -> str:
    """Guess the encoding of an unlabelled document: UTF-8 if it is valid, else the usual encoding of its script."""
    if is_utf8(body) or is_mostly_utf8(body):
        return "utf-8"
    high = sum(byte >= 0x80 for byte in body[:20_000])
    in_words = sum(len(word) for word in _CYRILLIC_WORD.findall(body[:20_000]))
    return "cp1251" if in_words > high / 2 else "cp1252"
