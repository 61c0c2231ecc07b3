# ruff: noqa: E501 - markup in the lines of its tools
"""Stories as word processors, editors and CMSs write them: each template is filled with words of six scripts.

`{t}` is a heading, `{p}` and `{q}` are sentences, `{a}` an alt text, `{c}` a caption, `{l}` the text of a link. We wrote the
markup ourselves, as each tool would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.acceptance import corpus_more

WORDS = {
    "en": ("Wells for farms", "Forty villages drink clean water.", "Work goes on until May.", "A deep well", "By the river", "Read the report"),
    "ru": ("Колодцы для ферм", "Сорок сёл пьют чистую воду.", "Работа идёт до мая.", "Глубокий колодец", "У реки", "Читать отчёт"),
    "ar": ("آبار للمزارع", "أربعون قرية تشرب ماءً نقيًا.", "يستمر العمل حتى أيار.", "بئر عميقة", "عند النهر", "اقرأ التقرير"),
    "zh": ("农场的水井", "四十个村庄喝上了清洁的水。", "工作持续到五月。", "一口深井", "河边", "阅读报告"),
    "hi": ("खेतों के लिए कुएँ", "चालीस गाँव साफ़ पानी पीते हैं।", "काम मई तक चलेगा।", "गहरा कुआँ", "नदी के पास", "रिपोर्ट पढ़ें"),
    "ka": ("ჭები ფერმებისთვის", "ორმოცი სოფელი სუფთა წყალს სვამს.", "სამუშაო მაისამდე გრძელდება.", "ღრმა ჭა", "მდინარესთან", "წაიკითხეთ ანგარიში"),
}  # fmt: skip
_GIF = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

HTML = {
    "wordpress classic": '<h2>{t}</h2>\n<p>{p}</p>\n<div id="attachment_7" style="width: 810px" class="wp-caption alignnone">'
    '<img decoding="async" class="size-large wp-image-7" src="https://cms.example/w.jpg" alt="{a}" width="800" height="533">'
    '<p id="caption-attachment-7" class="wp-caption-text">{c}</p></div>\n<p>{q} <a href="https://cms.example/r">{l}</a></p>',
    "wordpress gallery": "<p>{p}</p><style type='text/css'>#gallery-1 {{ margin: auto; }}</style>"
    '<div id="gallery-1" class="gallery galleryid-5"><dl class="gallery-item"><dt class="gallery-icon landscape">'
    '<a href="https://cms.example/w.jpg"><img width="150" height="150" src="https://cms.example/w-150.jpg" alt="{a}"></a></dt>'
    '<dd class="wp-caption-text gallery-caption">{c}</dd></dl><br style="clear: both" /></div><p>{q}</p>',
    "wordpress smileys": '<p>{p} <img src="https://s.w.org/images/core/emoji/15/72x72/1f389.png" alt="🎉" class="wp-smiley" '
    'style="height: 1em; max-height: 1em;" /></p><p>{q}</p>',
    "gutenberg": '<!-- wp:heading --><h2 class="wp-block-heading">{t}</h2><!-- /wp:heading -->\n<!-- wp:image {{"id":7}} -->'
    '<figure class="wp-block-image size-full"><img src="https://cms.example/w.jpg" alt="{a}" class="wp-image-7"/>'
    '<figcaption class="wp-element-caption">{c}</figcaption></figure><!-- /wp:image -->\n<!-- wp:paragraph --><p>{p}</p>'
    '<!-- /wp:paragraph --><!-- wp:button --><div class="wp-block-button"><a class="wp-block-button__link wp-element-button" '
    'href="https://cms.example/r">{l}</a></div><!-- /wp:button --><!-- wp:quote --><blockquote class="wp-block-quote"><p>{q}</p>'
    "<cite>{c}</cite></blockquote><!-- /wp:quote -->",
    "gutenberg embed": '<p>{p}</p><figure class="wp-block-embed is-type-video is-provider-youtube"><div class="wp-block-embed__wrapper">'
    '<iframe title="{t}" width="500" height="281" src="https://www.youtube.com/embed/abcDEF12345?feature=oembed" '
    'allowfullscreen></iframe></div><figcaption class="wp-element-caption">{c}</figcaption></figure><p>{q}</p>',
    "gutenberg columns": '<div class="wp-block-columns"><div class="wp-block-column" style="flex-basis:66%"><p class="has-large-font-size">'
    '{p}</p></div><div class="wp-block-column"><ul class="wp-block-list"><li>{q}</li><li><a href="https://cms.example/r">{l}</a></li></ul>'
    '</div></div><div class="wp-block-file"><a href="https://cms.example/a.pdf">{t}</a><a href="https://cms.example/a.pdf" '
    'class="wp-block-file__button" download>{c}</a></div>',
    "gutenberg details": '<details class="wp-block-details"><summary>{t}</summary><p>{p}</p></details><details open><summary>{c}</summary>'
    '<p>{q}</p></details><pre class="wp-block-verse">{l}</pre><hr class="wp-block-separator">',
    "lazy plugin": '<p>{p}</p><img class="lazyload" src="' + _GIF + '" data-src="https://cms.example/w.jpg" alt="{a}" width="800" height="533">'
    '<noscript><img src="https://cms.example/w.jpg" alt="{a}"></noscript><p>{q}</p>',
    "drupal ckeditor": '<div class="field field--name-body"><h3>{t}</h3><p>{p}&nbsp;</p><article class="align-right media media--type-image">'
    '<div class="field__item"><img loading="lazy" src="https://gov.example/sites/default/files/w.jpg?itok=x" width="480" height="320" '
    'alt="{a}" typeof="foaf:Image" /></div></article><p dir="auto">{q} <a data-entity-type="node" href="https://gov.example/node/4">{l}</a></p></div>',
    "drupal caption": '<figure role="group" class="caption caption-img align-center"><img alt="{a}" data-entity-type="file" '
    'src="https://gov.example/w.jpg" /><figcaption>{c}</figcaption></figure><table border="1" cellpadding="1"><caption>{t}</caption><thead><tr>'
    '<th scope="col">{c}</th></tr></thead><tbody><tr><td>{p}</td></tr></tbody></table><p>{q}</p>',
    "drupal file": '<p>{p}</p><span class="file file--mime-application-pdf file--application-pdf"><a href="https://gov.example/a.pdf" '
    'type="application/pdf">{l}</a></span><span>(1.2 MB)</span><p>{q}</p>',
    "word paste": '<!--[if gte mso 9]><xml><o:OfficeDocumentSettings></o:OfficeDocumentSettings></xml><![endif]-->'
    '<p class="MsoNormal" style="margin-bottom:8.0pt"><b><span lang="EN-GB" style="font-size:14.0pt;mso-fareast-language:RU">{t}<o:p></o:p>'
    '</span></b></p><p class="MsoListParagraph" style="text-indent:-18.0pt;mso-list:l0 level1 lfo1"><!--[if !supportLists]--><span '
    'style="mso-list:Ignore">·<span style="font:7.0pt">&nbsp;&nbsp;</span></span><!--[endif]-->{p}</p><p class="MsoNormal"><st1:place>{q}'
    '</st1:place> <a href="https://gov.example/r"><span style="color:blue">{l}</span></a><o:p>&nbsp;</o:p></p>',
    "word table": '<table class="MsoTableGrid" border="1" style="border-collapse:collapse"><tbody><tr style="mso-yfti-irow:0"><td width="312" '
    'valign="top"><p class="MsoNormal">{t}</p></td><td><p class="MsoNormal">{p}</p></td></tr><tr><td colspan="2"><p>{q}</p></td></tr></tbody></table>',
    "google docs paste": '<meta charset="utf-8"><b style="font-weight:normal;" id="docs-internal-guid-1"><h1 dir="ltr"><span style="font-size:20pt">'
    '{t}</span></h1><p dir="ltr"><span style="white-space:pre-wrap">{p} </span><a href="https://www.google.com/url?q=https://gov.example/r&sa=D" '
    'style="text-decoration:none"><span>{l}</span></a></p><br><ul><li dir="ltr" aria-level="1"><p role="presentation"><span>{q}</span></p></li></ul></b>',
    "google docs image": '<p><span style="overflow:hidden;display:inline-block;width:300px"><img src="https://lh7.example/w.png" alt="{a}" '
    'width="300" height="200" style="margin-left:0px"></span></p><p><span>{p}</span><sup><a href="#ftnt1">[1]</a></sup></p><hr><div><p>'
    '<a href="#ftnt_ref1" id="ftnt1">[1]</a><span>&nbsp;{q}</span></p></div>',
    "mastodon": '<p>{p} <a href="https://social.example/tags/water" class="mention hashtag" rel="tag">#<span>water</span></a> '
    '<a href="https://www.gov.example/long/address/of/a/report" target="_blank" rel="nofollow noopener" translate="no"><span class="invisible">'
    'https://www.</span><span class="ellipsis">gov.example/long/address</span><span class="invisible">/of/a/report</span></a></p><p>{q} '
    '<span class="h-card"><a href="https://social.example/@ada" class="u-url mention">@<span>ada</span></a></span></p>',
    "mastodon media": '<p>{p}</p><p>{q}</p><img src="https://files.example/w.jpg" alt="{a}"><video src="https://files.example/v.mp4" controls></video>',
    "youtube feed": '<p>{p}<br>{q}<br><br>{l}: <a href="https://www.youtube.com/watch?v=abcDEF12345">https://www.youtube.com/watch?v=abcDEF12345'
    '</a></p><a href="https://www.youtube.com/watch?v=abcDEF12345"><img src="https://i.ytimg.example/vi/a/hq.jpg" alt="{a}"></a>',
    "podcast notes": '<p>{p}</p><ul><li>(00:00) {t}</li><li>(12:30) {c}</li></ul><audio controls src="https://pod.example/e.mp3"><a '
    'href="https://pod.example/e.mp3">{l}</a></audio><p>---<br>{q}</p><p><small>Send in a voice message: <a href="https://pod.example/m">'
    "https://pod.example/m</a></small></p>",
    "podcast player": '<p>{p}</p><iframe src="https://open.spotify.com/embed/episode/4xYz" width="100%" height="232" title="{t}"></iframe><p>{q}</p>',
    "substack": '<p>{p}</p><div class="captioned-image-container"><figure><a class="image-link image2" target="_blank" href="https://sub.example/w.jpg">'
    '<div class="image2-inset"><picture><source type="image/webp" srcset="https://sub.example/w-424.webp 424w, https://sub.example/w-848.webp 848w">'
    '<img src="https://sub.example/w.jpg" width="1456" height="971" alt="{a}" title="{a}"></picture></div></a><figcaption class="image-caption">{c}'
    '</figcaption></figure></div><p class="button-wrapper"><a class="button primary" href="https://sub.example/subscribe"><span>{l}</span></a></p>'
    '<div class="footnote"><a id="footnote-1" href="#footnote-anchor-1" class="footnote-number">1</a><div class="footnote-content"><p>{q}</p></div></div>',
    "substack embed": '<p>{p}</p><div id="youtube2-abcDEF12345" class="youtube-wrap"><div class="youtube-inner"><iframe '
    'src="https://www.youtube-nocookie.com/embed/abcDEF12345?rel=0&autoplay=0" frameborder="0" allow="autoplay"></iframe></div></div>'
    '<div class="pullquote"><p>{q}</p></div>',
    "medium": '<h3>{t}</h3><h4>{c}</h4><figure><img alt="{a}" src="https://miro.example/max/1024/w.jpeg"><figcaption>{c}</figcaption></figure>'
    '<p>{p}</p><blockquote>{q}</blockquote><p><a href="https://med.example/r"><strong>{l}</strong></a></p>'
    '<img src="https://med.example/_/stat?event=post.clientViewed" width="1" height="1" alt="">',
    "medium card": '<p>{p}</p><div><a href="https://gov.example/r" target="_blank"><div><div><h2>{t}</h2><div><h3>{q}</h3></div><div><p>gov.example'
    "</p></div></div></div></a></div>",
    "government table page": '<table width="100%" cellspacing="0"><tr><td bgcolor="#ffffff"><font face="Arial" size="2"><center><b>{t}</b></center><p '
    'align="justify">{p}<p align="justify">{q}<br><a href="https://gov.example/r.doc"><u>{l}</u></a></font></td><td><img src="https://gov.example/w.gif" '
    'alt="{a}" width="200" height="90"></td></tr></table>',
    "government map": '<p>{p}</p><iframe src="https://www.google.com/maps/embed?pb=!1m18!2d76.9!3d43.2" width="600" height="450" style="border:0;" '
    'loading="lazy" title="{t}"></iframe><p>{q}</p>',
    "government form": '<p>{p}</p><iframe src="https://docs.google.com/forms/d/e/1FA/viewform?embedded=true" width="640" height="800" title="{t}">'
    "{l}</iframe><p>{q}</p>",
    "sharepoint": '<div class="ms-rtestate-field"><p class="ms-rteElement-P">{p}</p><p>&#8203;{q}&#160;<a class="ms-rteElement-A" '
    'href="https://gov.example/r.docx">{l}</a></p><div class="imagePlugin"><img src="https://gov.example/w.png" alt="{a}" data-uploading="0"></div></div>',
    "typo3": '<div id="c7" class="frame frame-default"><header><h2>{t}</h2></header><div class="ce-textpic ce-right"><div class="ce-gallery"><figure class="image">'
    '<img class="image-embed-item" title="{c}" alt="{a}" src="https://gov.example/w.jpg" width="300" height="200"><figcaption class="image-caption">{c}'
    '</figcaption></figure></div><div class="ce-bodytext"><p>{p}</p><ol><li>{q}</li><li><a href="https://gov.example/r">{l}</a></li></ol></div></div></div>',
    "tweet": '<p>{p}</p><blockquote class="twitter-tweet"><p lang="und" dir="ltr">{q} <a href="https://t.example/x">pic.example/x</a></p>&mdash; {c} (@ada) '
    '<a href="https://twitter.com/ada/status/1?ref_src=x">{l}</a></blockquote><script async src="https://platform.twitter.com/widgets.js"></script>',
}  # fmt: skip

MARKDOWN = {
    "obsidian": (
        "## {t}\n\n{p} ==new==\n\n> [!note] {c}\n> {q}\n\n- [x] {l}\n- [ ] {a}\n\nA line[^1].\n\n[^1]: {c}\n",
        "<h2>{t}</h2><p>{p} new</p><p>{c}</p><p>{q}</p><ul><li>{l}</li><li>{a}</li></ul><p>A line.</p><p>{c}</p>",
    ),
    "hugo": (
        '{p}\n\n{{{{< figure src="https://cms.example/w.jpg" alt="{a}" caption="{c}" >}}}}\n\n{{{{< youtube abcDEF12345 >}}}}\n\n{q}\n',
        '<p>{p}</p><figure><img src="https://cms.example/w.jpg" alt="{a}"><figcaption>{c}</figcaption></figure>'
        '<iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe><p>{q}</p>',
    ),
    "jekyll": (
        '{p}\n{{: .lead}}\n\n![{a}](https://cms.example/w.jpg){{:width="600"}}\n\n[{l}][r]\n\n| {t} | n |\n|---|---|\n| {q} | 4 |\n\n[r]: https://cms.example/r\n',
        '<p class="lead">{p}</p><p><img src="https://cms.example/w.jpg" alt="{a}" width="600"></p><p><a href="https://cms.example/r">{l}</a></p>'
        "<table><tr><th>{t}</th><th>n</th></tr><tr><td>{q}</td><td>4</td></tr></table>",
    ),
    "decap": (
        "# {t}\n\n{p}  \n{q}\n\n* {c}\n* [{l}](https://cms.example/r)\n\n![{a}](https://cms.example/w.jpg \"{c}\")\n\n<https://cms.example/x>\n",
        '<h1>{t}</h1><p>{p}<br>{q}</p><ul><li>{c}</li><li><a href="https://cms.example/r">{l}</a></li></ul><p><img src="https://cms.example/w.jpg" '
        'alt="{a}" title="{c}"></p><p><a href="https://cms.example/x">https://cms.example/x</a></p>',
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CorpusStory:
    """A story: the HTML that its tool writes, and the HTML that the tool displays."""

    name: str
    language: str
    source: str
    shown: str
    is_markdown: bool = False


def make_stories() -> Iterator[CorpusStory]:
    """Yield more than 300 stories."""
    for language, words in WORDS.items():
        values = dict(zip("tpqacl", words, strict=True))
        for name, template in HTML.items():
            markup = template.format(**values)
            yield CorpusStory(name, language, markup, markup)
        for name, (source, shown) in MARKDOWN.items():
            yield CorpusStory(name, language, source.format(**values), shown.format(**values), is_markdown=True)
    for number, (name, template) in enumerate(corpus_more.HTML.items()):
        language, words = list(WORDS.items())[number % len(WORDS)]
        markup = template.format(**dict(zip("tpqacl", words, strict=True)))
        yield CorpusStory(name, language, markup, markup)
    for number, (name, (source, shown)) in enumerate(corpus_more.MARKDOWN.items()):
        language, words = list(WORDS.items())[number % len(WORDS)]
        values = dict(zip("tpqacl", words, strict=True))
        yield CorpusStory(name, language, source.format(**values), shown.format(**values), is_markdown=True)
