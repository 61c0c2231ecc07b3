# ruff: noqa: E501 - markup in the lines of its tools
"""More stories for the corpus: block editors, site builders, exports of word processors and notes programs.

The placeholders are those of `corpus.py`. Each story is in one of its six scripts.
"""

from __future__ import annotations

HTML = {
    'wp gallery block': '<p>{p}</p><figure class="wp-block-gallery has-nested-images columns-default is-cropped wp-block-gallery-1 is-layout-flex">'
        '<figure class="wp-block-image size-large"><img decoding="async" width="1024" height="683" data-id="11" src="https://cms.example/w-1024x683.jpg" alt="{a}" '
        'class="wp-image-11" srcset="https://cms.example/w-1024x683.jpg 1024w, https://cms.example/w-300x200.jpg 300w" sizes="auto, (max-width: 1024px) 100vw, 1024px"/>'
        '<figcaption class="wp-element-caption">{c}</figcaption></figure><figure class="wp-block-image size-large">'
        '<img loading="lazy" data-id="12" src="https://cms.example/v.jpg" alt="{l}" class="wp-image-12"/></figure>'
        '<figcaption class="blocks-gallery-caption wp-element-caption">{q}</figcaption></figure>',
    'wp cover block': '<div class="wp-block-cover"><span aria-hidden="true" class="wp-block-cover__background has-background-dim"></span>'
        '<img class="wp-block-cover__image-background wp-image-9" alt="{a}" src="https://cms.example/cover.jpg" data-object-fit="cover"/>'
        '<div class="wp-block-cover__inner-container"><p class="has-text-align-center has-large-font-size">{p}</p></div></div><p>{q}</p>',
    'wp cover parallax': '<div class="wp-block-cover has-parallax" style="min-height:430px"><span class="wp-block-cover__background"></span>'
        '<div role="img" aria-label="{a}" class="wp-block-cover__image-background has-parallax" style="background-position:50% '
        '50%;background-image:url(https://cms.example/cover.jpg)"></div><div class="wp-block-cover__inner-container"><p>{p}</p></div></div><p>{q}</p>',
    'wp media text': '<div class="wp-block-media-text is-stacked-on-mobile is-image-fill-element" style="grid-template-columns:38% auto"><figure class="wp-block-media-text__media">'
        '<img src="https://cms.example/m.jpg" alt="{a}" class="wp-image-8 size-full" style="object-position:50% 50%"/></figure><div class="wp-block-media-text__content">'
        '<h2 class="wp-block-heading">{t}</h2><p>{p}</p><div class="wp-block-buttons is-layout-flex"><div class="wp-block-button">'
        '<a class="wp-block-button__link" href="https://cms.example/r">{l}</a></div></div></div></div><p>{q}</p>',
    'wp table block': '<figure class="wp-block-table is-style-stripes"><table class="has-fixed-layout"><thead><tr><th class="has-text-align-left" data-align="left">{t}</th><th>'
        '{c}</th></tr></thead><tbody><tr><td>{p}</td><td>12</td></tr></tbody><tfoot><tr><td>{a}</td><td>40</td></tr></tfoot></table>'
        '<figcaption class="wp-element-caption">{q}</figcaption></figure>',
    'wp pullquote': '<figure class="wp-block-pullquote has-border-color"><blockquote><p>{p}</p><cite>{c}</cite></blockquote></figure><p>{q}</p>',
    'wp query loop': '<div class="wp-block-query is-layout-flow"><ul class="columns-3 wp-block-post-template is-layout-grid">'
        '<li class="wp-block-post post-4 post type-post status-publish"><figure class="wp-block-post-featured-image"><a href="https://cms.example/p4" target="_self">'
        '<img width="600" height="400" src="https://cms.example/p4.jpg" class="attachment-post-thumbnail wp-post-image" alt="{a}" style="object-fit:cover;"/></a>'
        '</figure><h2 class="wp-block-post-title"><a href="https://cms.example/p4" target="_self">{t}</a></h2><div class="wp-block-post-excerpt">'
        '<p class="wp-block-post-excerpt__excerpt">{p} </p><p class="wp-block-post-excerpt__more-text">'
        '<a class="wp-block-post-excerpt__more-link" href="https://cms.example/p4">{l}</a></p></div><div class="wp-block-post-date">'
        '<time datetime="2026-11-30T10:00:00+05:00">30.11.2026</time></div></li></ul><nav class="wp-block-query-pagination" aria-label="{c}">'
        '<a href="https://cms.example/?p=2" class="wp-block-query-pagination-next">{c}<span class="wp-block-query-pagination-next-arrow" aria-hidden="true">→</span></a>'
        '</nav></div><p>{q}</p>',
    'wp footnotes': '<p>{p}<sup data-fn="a1b2" class="fn"><a href="#a1b2" id="a1b2-link">1</a></sup></p><ol class="wp-block-footnotes"><li id="a1b2">'
        '{q} <a href="#a1b2-link" aria-label="{c}">↩︎</a></li></ol>',
    'wp group and details': '<div class="wp-block-group alignfull has-background is-layout-constrained" style="background:#eee"><details class="wp-block-details is-layout-flow"><summary>'
        '{t}</summary><p>{p}</p></details></div><ul class="wp-block-social-links"><li class="wp-social-link wp-social-link-x wp-block-social-link">'
        '<a href="https://x.com/un" class="wp-block-social-link-anchor"><svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
        '<path d="M1 1"></path></svg><span class="wp-block-social-link-label screen-reader-text">X</span></a></li></ul><p>{q}</p>',
    'wp audio video file': '<figure class="wp-block-audio"><audio controls src="https://cms.example/a.mp3"></audio><figcaption class="wp-element-caption">{c}</figcaption></figure>'
        '<figure class="wp-block-video"><video controls poster="https://cms.example/p.jpg" src="https://cms.example/v.mp4">'
        '<track label="English" srclang="en" src="https://cms.example/v.vtt" kind="subtitles"></video><figcaption>{l}</figcaption></figure><p>{p}</p><p>{q}</p>',
    'wp jetpack tiled': '<div class="wp-block-jetpack-tiled-gallery aligncenter is-style-rectangular"><div class="tiled-gallery__gallery"><div class="tiled-gallery__row">'
        '<div class="tiled-gallery__col" style="flex-basis:66%"><figure class="tiled-gallery__item">'
        '<img decoding="async" srcset="https://i0.wp.example/w.jpg?strip=info&#038;w=600&#038;ssl=1 600w" alt="{a}" data-height="1200" data-id="5" '
        'data-link="https://cms.example/?attachment_id=5" data-url="https://cms.example/w.jpg" data-width="1600" src="https://i0.wp.example/w.jpg?ssl=1" '
        'layout="responsive"/></figure></div></div></div></div><p>{p}</p><p>{q}</p>',
    'wp elementor': '<div data-elementor-type="wp-post" data-elementor-id="9" class="elementor elementor-9">'
        '<div class="elementor-element e-con-full e-flex e-con e-parent" data-element_type="container"><div class="elementor-widget elementor-widget-heading">'
        '<div class="elementor-widget-container"><h2 class="elementor-heading-title">{t}</h2></div></div><div class="elementor-widget elementor-widget-icon-list">'
        '<ul class="elementor-icon-list-items"><li class="elementor-icon-list-item"><a href="https://cms.example/r"><span class="elementor-icon-list-icon">'
        '<i aria-hidden="true" class="fas fa-check"></i></span><span class="elementor-icon-list-text">{l}</span></a></li></ul></div><div class="elementor-toggle-item">'
        '<div class="elementor-tab-title" role="button" aria-expanded="true"><a class="elementor-toggle-title" tabindex="0">{c}</a></div>'
        '<div class="elementor-tab-content" role="region">{p}</div></div><div class="elementor-counter-number-wrapper">'
        '<span class="elementor-counter-number" data-to-value="40">40</span></div></div></div><p>{q}</p>',
    'wp divi': '<div class="et_pb_section et_section_regular"><div class="et_pb_row"><div class="et_pb_column et_pb_column_4_4"><div class="et_pb_module et_pb_text">'
        '<div class="et_pb_text_inner"><p>{p}</p></div></div><div class="et_pb_module et_pb_image"><span class="et_pb_image_wrap">'
        '<img fetchpriority="high" decoding="async" width="800" height="533" src="https://cms.example/d.jpg" alt="{a}" title="d"/></span></div>'
        '<div class="et_pb_button_module_wrapper"><a class="et_pb_button" href="https://cms.example/r" data-icon="5">{l}</a></div></div></div></div><p>{q}</p>',
    'drupal ck5 image': '<p>{p}</p><figure role="group" class="image image_resized align-center" style="width:50%;">'
        '<img data-entity-uuid="0a1b" data-entity-type="file" src="https://gov.example/w.png" width="1200" height="800" loading="lazy" alt="{a}"><figcaption>'
        '{c}</figcaption></figure><p class="text-align-justify">{q} <a href="https://gov.example/node/7" data-entity-substitution="canonical" data-entity-type="node" '
        'title="{t}">{l}</a></p>',
    'drupal ck5 media embed': '<p>{p}</p><article class="media media--type-remote-video media--view-mode-default">'
        '<div class="field field--name-field-media-oembed-video field--type-string field--label-visually_hidden"><div class="field__label visually-hidden">{t}</div>'
        '<div class="field__item"><iframe src="https://gov.example/media/oembed?url=https%3A//youtu.be/abcDEF12345&amp;max_width=0&amp;max_height=0&amp;hash=x" '
        'width="200" height="113" class="media-oembed-content" loading="eager" title="{c}"></iframe></div></div></article><p>{q}</p>',
    'drupal ck5 responsive picture': '<p>{p}</p><picture><source srcset="https://gov.example/styles/wide/w.webp?itok=a 1x" media="all and (min-width: 851px)" type="image/webp" width="1090" '
        'height="613"><source srcset="https://gov.example/styles/narrow/w.webp 1x" type="image/webp">'
        '<img loading="eager" width="1090" height="613" src="https://gov.example/styles/narrow/w.jpg" alt="{a}"></picture><div class="paragraph paragraph--type--quote">'
        '<div class="field__item">{q}</div><div class="field__label">{c}</div></div>',
    'drupal ck5 table todo': '<figure class="table" style="width:100%"><table class="table" style="background-color:#fff"><thead><tr><th scope="col">{t}</th></tr></thead><tbody><tr>'
        '<td colspan="1"><ul class="todo-list"><li><label class="todo-list__label"><input type="checkbox" disabled="disabled" checked="checked">'
        '<span class="todo-list__label__description">{p}</span></label></li></ul></td></tr></tbody></table><figcaption>{c}</figcaption></figure><p>'
        '<mark class="marker-yellow">{q}</mark></p>',
    'drupal webform and block': '<p>{p}</p><div class="block block-webform"><form class="webform-submission-form" action="/form/contact" method="post"><div class="form-item">'
        '<label for="edit-name">{c}</label><input id="edit-name" type="text"></div></form></div><p>{q}</p>',
    'squarespace': '<div class="sqs-layout sqs-grid-12"><div class="row sqs-row"><div class="col sqs-col-12 span-12"><div class="sqs-block html-block sqs-block-html">'
        '<div class="sqs-block-content"><div class="sqs-html-content"><h2 style="white-space:pre-wrap;">{t}</h2><p class="sqsrte-large">{p}</p></div></div></div>'
        '<div class="sqs-block image-block sqs-block-image"><figure class="sqs-block-image-figure intrinsic">'
        '<div class="image-block-wrapper" data-animation-role="image">'
        '<div class="sqs-image-shape-container-element has-aspect-ratio" style="position:relative;padding-bottom:66%;overflow:hidden;"><noscript>'
        '<img src="https://images.sq.example/w.jpg" alt="{a}" /></noscript>'
        '<img class="thumb-image" data-src="https://images.sq.example/w.jpg" data-image="https://images.sq.example/w.jpg" data-image-dimensions="1500x1000" '
        'data-image-focal-point="0.5,0.5" alt="{a}" data-load="false" data-image-id="5" data-type="image"></div></div><figcaption class="image-caption-wrapper">'
        '<div class="image-caption"><p>{c}</p></div></figcaption></figure></div><div class="sqs-block button-block">'
        '<a href="https://sq.example/r" class="sqs-block-button-element--medium" data-initialized="true">{l}</a></div></div></div></div><p>{q}</p>',
    'squarespace gallery': '<p>{p}</p><div class="sqs-gallery-container sqs-gallery-block-grid"><div class="slide"><div class="margin-wrapper">'
        '<a data-title="" data-description="" href="https://images.sq.example/w.jpg" class="image-slide-anchor content-fill"><noscript>'
        '<img src="https://images.sq.example/w.jpg" alt="{a}" /></noscript>'
        '<img class="thumb-image" alt="{a}" data-src="https://images.sq.example/w.jpg" data-load="false" data-type="image"></a></div></div></div><p>{q}</p>',
    'wix': '<div data-hook="rcv-block1"></div><div type="paragraph" data-hook="rcv-block1"><p class="_3Qxk7" dir="auto"><span class="_2PHJq">{p}</span></p></div>'
        '<div data-hook="rcv-block2"></div><div type="image" data-hook="rcv-block2"><figure class="_2vNR5"><div data-hook="imageViewer" role="button" tabindex="0">'
        '<wow-image id="new-image" class="kCz-R" data-image-info="...">'
        '<img src="https://static.wix.example/media/w.jpg/v1/fill/w_49,h_33,al_c,q_80,blur_2/w.jpg" alt="{a}" data-pin-media="https://static.wix.example/media/w.jpg">'
        '</wow-image></div><figcaption><span class="_13yu">{c}</span></figcaption></figure></div><ul class="_1lS8v"><li aria-level="1"><p>'
        '{q} <a class="_3Bkfb" href="https://wix.example/r" target="_blank" rel="noopener noreferrer" data-hook="linkViewer"><u class="D-jZk">{l}</u></a></p></li></ul>',
    'joomla': '<div class="item-page" itemscope itemtype="https://schema.org/Article"><div class="com-content-article__body" itemprop="articleBody"><p>'
        '<img class="float-start" src="https://gov.example/images/w.jpg#joomlaImage://local-images/w.jpg?width=800&amp;height=533" width="800" height="533" '
        'loading="lazy" data-path="local-images:/w.jpg" alt="{a}" /></p><p>{p}</p><hr id="system-readmore" /><p>{q} <a href="https://gov.example/r">{l}</a></p><p>'
        '{c} <joomla-hidden-mail is-link="1" is-email="1" first="b2Zm" last="dW4=" text="b2Zm" base=""></joomla-hidden-mail></p></div></div>',
    'typo3 uploads': '<div id="c9" class="frame frame-type-uploads"><header><h2 class="">{t}</h2></header><ul class="ce-uploads"><li>'
        '<img src="https://gov.example/icons/pdf.gif" width="18" height="16" alt=""/><div><a href="https://gov.example/fileadmin/r.pdf">'
        '<span class="ce-uploads-fileName">{l}</span></a><span class="ce-uploads-description">{c}</span><span class="ce-uploads-filesize">1 MB</span></div></li></ul>'
        '</div><div class="frame frame-type-shortcut"><p class="bodytext">{p}</p><p class="bodytext">{q}</p></div>',
    'plone': '<div id="parent-fieldname-text"><p class="documentDescription">{t}</p><p><a class="internal-link" href="https://gov.example/resolveuid/0a1b">{l}</a></p><p>'
        '<picture class="captioned"><source srcset="https://gov.example/@@images/w-400.jpeg 400w, https://gov.example/@@images/w-1000.jpeg 1000w" />'
        '<img class="image-richtext image-inline picture-variant-medium" alt="{a}" src="https://gov.example/@@images/w.jpeg" loading="lazy" height="533" width="800" />'
        '</picture></p><p class="callout">{p}</p><p class="discreet">{q}</p></div>',
    'plone captioned': '<figure class="captioned image-left"><a rel="lightbox" href="https://gov.example/w.jpg">'
        '<img src="https://gov.example/w-preview.jpg" alt="{a}" title="{t}" height="267" width="400" /></a><figcaption class="image-caption">{c}</figcaption></figure><p>'
        '{p}</p><dl><dt>{l}</dt><dd>{q}</dd></dl>',
    'sharepoint modern': '<div data-sp-canvascontrol="" data-sp-canvasdataversion="1.0"><div data-sp-rte=""><h2>{t}</h2><p class="fontSizeXLarge noSpacingAbove">{p}</p></div></div>'
        '<div data-sp-canvascontrol="" data-sp-controldata="&#123;&quot;controlType&quot;&#58;3&#125;"><div data-sp-webpart="" data-sp-webpartdataversion="1.9">'
        '<div data-sp-componentid="">d1d91016</div><div data-sp-htmlproperties="">'
        '<img data-sp-prop-name="imageSource" src="https://gov.example/SiteAssets/w.jpg" alt="{a}"/>'
        '<div data-sp-prop-name="captionText" data-sp-searchableplaintext="true">{c}</div><a data-sp-prop-name="linkUrl" href="https://gov.example/r">{l}</a></div></div>'
        '</div><p>{q}</p>',
    'notion export': '<article id="0a1b" class="page sans"><header><div class="page-header-icon undefined"><span class="icon">💧</span></div><h1 class="page-title" dir="auto">{t}</h1>'
        '</header><div class="page-body"><figure class="callout" style="white-space:pre-wrap;display:flex" id="1"><div style="font-size:1.5em"><span class="icon">'
        '💡</span></div><div style="width:100%">{p}</div></figure><ul class="toggle"><li><details open=""><summary>{c}</summary><p>{q}</p></details></li></ul>'
        '<figure class="image"><a href="https://prod.notion.example/w.png"><img style="width:700px" src="https://prod.notion.example/w.png" alt="{a}"/></a><figcaption>'
        '{c}</figcaption></figure><figure id="2"><a href="https://gov.example/r" class="bookmark source"><div class="bookmark-info"><div class="bookmark-text">'
        '<div class="bookmark-title">{l}</div><div class="bookmark-description">{a}</div></div><div class="bookmark-href">'
        '<img src="https://gov.example/favicon.ico" class="icon bookmark-icon" alt=""/>https://gov.example/r</div></div></a></figure><ul class="to-do-list"><li>'
        '<div class="checkbox checkbox-on"></div> <span class="to-do-children-checked">{l}</span></li></ul></div></article>',
    'google docs html export': '<style type="text/css">@import url(https://themes.example/fonts/css);.c1{{color:#000}}</style><p class="c2 title" id="h.x"><span class="c9">{t}</span></p>'
        '<p class="c1"><span>{p}</span><sup><a href="#cmnt1" id="cmnt_ref1">[a]</a></sup><span class="c5">'
        '<a class="c3" href="https://www.google.com/url?q=https://gov.example/r?a%3D1&amp;sa=D&amp;source=editors&amp;ust=17&amp;usg=AOv">{l}</a></span></p>'
        '<p class="c1"><span style="overflow: hidden; display: inline-block; margin: 0.00px 0.00px; border: 0.00px solid #000000; width: 602.00px; height: 401.33px;">'
        '<img alt="{a}" src="https://lh7.example/w.jpg" style="width: 602.00px; height: 401.33px;" title="{c}"></span></p><a id="t.0"></a><table class="c8">'
        '<tr class="c4"><td class="c7" colspan="1" rowspan="1"><p class="c6"><span class="c0">{q}</span></p></td></tr></table><div class="c12"><p class="c10">'
        '<a href="#cmnt_ref1" id="cmnt1">[a]</a><span class="c11">{c}</span></p></div>',
    'apple pages export': '<p class="p1"><span class="s1"><b>{t}</b></span></p><p class="p2"><span class="s1"></span><br></p><p class="p3"><span class="Apple-converted-space">  </span>'
        '{p}<span class="Apple-tab-span" style="white-space:pre">\t</span>{q}</p><p class="p4">'
        '<img src="https://gov.example/attachment/w.png" alt="{a}" class="Apple-web-attachment Singleton"></p><p class="p3"><a href="https://gov.example/r">'
        '<span class="s2">{l}</span></a></p><table cellspacing="0" cellpadding="0" class="t1"><tbody><tr><td valign="top" class="td1"><p class="p5">{c}</p></td></tr>'
        '</tbody></table>',
    'apple mail paste': '<div class="AppleOriginalContents" style="direction: ltr;"><blockquote type="cite" cite="mid:1@x"><div>{p}<br class="Apple-interchange-newline"></div>'
        '</blockquote></div><div dir="auto" style="overflow-wrap: break-word; line-break: after-white-space;"><div>'
        '<object type="application/x-apple-msg-attachment" data="cid:1"></object></div><div><font color="#0000ff"><u><a href="https://gov.example/r">{l}</a></u></font>'
        '</div></div><p>{q}</p>',
    'ghost bookmark': '<p>{p}</p><figure class="kg-card kg-bookmark-card kg-card-hascaption"><a class="kg-bookmark-container" href="https://gov.example/r">'
        '<div class="kg-bookmark-content"><div class="kg-bookmark-title">{t}</div><div class="kg-bookmark-description">{q}</div><div class="kg-bookmark-metadata">'
        '<img class="kg-bookmark-icon" src="https://gov.example/favicon.png" alt=""><span class="kg-bookmark-author">{c}</span><span class="kg-bookmark-publisher">'
        'UN</span></div></div><div class="kg-bookmark-thumbnail"><img src="https://gov.example/t.jpg" alt="" onerror="this.style.display = \'none\'"></div></a><figcaption>'
        '<p><span style="white-space: pre-wrap;">{l}</span></p></figcaption></figure>',
    'ghost cards': '<div class="kg-card kg-callout-card kg-callout-card-blue"><div class="kg-callout-emoji">💡</div><div class="kg-callout-text">{p}</div></div>'
        '<div class="kg-card kg-toggle-card" data-kg-toggle-state="close"><div class="kg-toggle-heading"><h4 class="kg-toggle-heading-text"><span>{t}</span></h4>'
        '<button class="kg-toggle-card-icon" aria-label="Expand toggle to read content"><svg viewBox="0 0 24 24"><path d="M1"></path></svg></button></div>'
        '<div class="kg-toggle-content"><p>{q}</p></div></div><div class="kg-card kg-button-card kg-align-center">'
        '<a href="https://gov.example/r" class="kg-btn kg-btn-accent">{l}</a></div><figure class="kg-card kg-gallery-card kg-width-wide">'
        '<div class="kg-gallery-container"><div class="kg-gallery-row"><div class="kg-gallery-image">'
        '<img src="https://ghost.example/w.jpg" width="2000" height="1333" loading="lazy" alt="{a}" srcset="https://ghost.example/size/w600/w.jpg 600w"></div></div></div></figure>',
    'ghost file audio product': '<div class="kg-card kg-file-card"><a class="kg-file-card-container" href="https://gov.example/r.pdf" title="Download" download="">'
        '<div class="kg-file-card-contents"><div class="kg-file-card-title">{t}</div><div class="kg-file-card-caption">{c}</div><div class="kg-file-card-metadata">'
        '<div class="kg-file-card-filename">r.pdf</div><div class="kg-file-card-filesize">1 MB</div></div></div><div class="kg-file-card-icon"><svg viewBox="0 0 24 24">'
        '<defs><style>.a{{fill:none}}</style></defs><title>download-circle</title></svg></div></a></div><div class="kg-card kg-audio-card">'
        '<img src alt="audio-thumbnail" class="kg-audio-thumbnail kg-audio-hide"><div class="kg-audio-player-container">'
        '<audio src="https://ghost.example/a.mp3" preload="metadata"></audio><div class="kg-audio-title">{l}</div></div></div><p>{p}</p><p>{q}</p>',
    'ghost header signup': '<div class="kg-card kg-header-card kg-v2 kg-width-full"><picture><img class="kg-header-card-image" src="https://ghost.example/h.jpg" loading="lazy" alt="{a}" />'
        '</picture><div class="kg-header-card-content"><div class="kg-header-card-text"><h2 class="kg-header-card-heading"><span>{t}</span></h2>'
        '<p class="kg-header-card-subheading"><span>{p}</span></p><a href="https://gov.example/r" class="kg-header-card-button">{l}</a></div></div></div><p>{q}</p>',
    'substack footnote anchors': '<p>{p}<a class="footnote-anchor" data-component-name="FootnoteAnchorToDOM" id="footnote-anchor-1-150" href="#footnote-1-150" target="_self">1</a></p>'
        '<div class="footnote" data-component-name="FootnoteToDOM"><a id="footnote-1-150" href="#footnote-anchor-1-150" class="footnote-number" contenteditable="false" '
        'target="_self">1</a><div class="footnote-content"><p>{q}</p></div></div>'
        '<div class="subscription-widget-wrap-editor" data-attrs="{{}}" data-component-name="SubscribeWidgetToDOM"><div class="subscription-widget show-subscribe">'
        '<div class="preamble"><p class="cta-caption">{c}</p></div><form class="subscription-widget-subscribe">'
        '<input type="email" class="email-input" name="email" placeholder="Type your email…" tabindex="-1"><input type="submit" class="button primary" value="Subscribe">'
        '<div class="fake-input-wrapper"><div class="fake-input"></div><div class="fake-button"></div></div></form></div></div>',
    'substack posts': '<p>{p}</p><div class="digest-post-embed" data-attrs="{{&quot;title&quot;:&quot;x&quot;}}" data-component-name="DigestPostEmbed"></div>'
        '<div class="embedded-post-wrap" data-attrs="{{}}"><a class="embedded-post" native="true" href="https://sub.example/p/wells?utm_source=substack">'
        '<div class="embedded-post-header"><img class="embedded-post-publication-logo" src="https://sub.example/logo.png" alt="">'
        '<span class="embedded-post-publication-name">{c}</span></div><div class="embedded-post-title-wrapper"><div class="embedded-post-title">{t}</div></div>'
        '<div class="embedded-post-body">{q}</div><div class="embedded-post-cta-wrapper"><span class="embedded-post-cta">{l}</span></div></a></div>'
        '<div class="poll-embed" data-attrs="{{&quot;id&quot;:1}}"></div>',
    'substack audio latex': '<p>{p}</p><div class="native-audio-embed" data-component-name="AudioPlaceholder" '
        'data-attrs="{{&quot;label&quot;:null,&quot;mediaUploadId&quot;:&quot;1&quot;}}"></div>'
        '<div class="latex-rendered" data-attrs="{{&quot;persistentExpression&quot;:&quot;x^2&quot;}}"></div><blockquote class="pullquote"><p>{q}</p></blockquote>',
    'medium gist': '<p>{p}</p><iframe src="https://cdn.embedly.com/widgets/media.html?src=https%3A%2F%2Fwww.youtube.com%2Fembed%2FabcDEF12345%3Ffeature%3Doembed&amp;displ'
        'ay_name=YouTube&amp;url=https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3DabcDEF12345&amp;image=https%3A%2F%2Fi.ytimg.com%2Fvi%2FabcDEF12345%2Fhqdefault.jpg'
        '&amp;type=text%2Fhtml&amp;schema=youtube" width="854" height="480" frameborder="0" scrolling="no"><a href="https://medium.example/media/0a/href">'
        'https://medium.example/media/0a/href</a></iframe><hr><p>{q}</p>',
    'medium mixtape': '<p>{p}</p><div class="graf graf--mixtapeEmbed graf-after--p">'
        '<a href="https://gov.example/r" data-href="https://gov.example/r" class="markup--anchor markup--mixtapeEmbed-anchor" title="https://gov.example/r">'
        '<strong class="markup--strong">{t}</strong><br><em class="markup--em">{q}</em>gov.example</a>'
        '<a href="https://gov.example/r" class="js-mixtapeImage mixtapeImage u-ignoreBlock" data-media-id="0a" data-thumbnail-img-id="1*x.jpeg" style="background-image: '
        'url(https://cdn.example/1*x.jpeg);"></a></div><figure class="graf graf--figure">'
        '<img class="graf-image" data-image-id="1*w.jpeg" data-width="1200" data-height="800" src="https://cdn.example/max/800/1*w.jpeg" alt="{a}">'
        '<figcaption class="imageCaption">{c}</figcaption></figure>',
    'mastodon quote and emoji': '<p class="quote-inline">RE: <a href="https://social.example/@un/1" rel="nofollow noopener" translate="no"><span class="invisible">https://</span><span class="">'
        'social.example/@un/1</span><span class="invisible"></span></a></p><p>'
        '{p} <img draggable="false" class="emojione custom-emoji" alt=":water:" title=":water:" src="https://social.example/emoji/water.png" /></p><p>{q}</p>',
    'peertube description': '<p>{p}</p><p><a href="https://tube.example/w/abc?start=1m30s">1:30</a> {t}</p><p>{q}</p><p>'
        '<a target="_blank" rel="noopener noreferrer" href="https://gov.example/r">{l}</a></p>',
    'podcast show notes': '<p>{p}</p><p><strong>{t}</strong><br>(0:00) {c}<br>(1:02:03) {a}</p><p>Mentioned: <a href="https://gov.example/r" rel="noopener">{l}</a></p><p>{q}</p><br/><br/>'
        "Advertising Inquiries: <a href='https://redcircle.example/brands'>https://redcircle.example/brands</a>",
    'buzzsprout player': '<p>{p}</p><div id="buzzsprout-player-123"></div><script src="https://www.buzzsprout.com/1/123.js?container_id=buzzsprout-player-123&player=small" '
        'type="text/javascript" charset="utf-8"></script><p>{q}</p>',
    'blogger': '<div class="separator" style="clear: both;"><a href="https://blogger.example/w-h/w.jpg" style="display: block; padding: 1em 0; text-align: center; ">'
        '<img alt="{a}" border="0" width="320" data-original-height="1067" data-original-width="1600" src="https://blogger.example/w320/w.jpg"/></a></div>'
        '<div style="text-align: justify;">{p}</div><a name=\'more\'></a><div><br /></div><div>{q}</div>'
        '<table align="center" cellpadding="0" cellspacing="0" class="tr-caption-container"><tbody><tr><td><img alt="{l}" src="https://blogger.example/v.jpg"></td></tr>'
        '<tr><td class="tr-caption">{c}</td></tr></tbody></table>',
    'tumblr npf': '<p>{p}</p><div class="npf_row"><figure class="tmblr-full" data-orig-height="800" data-orig-width="1200">'
        '<img src="https://64.media.example/w/s640x960/w.jpg" srcset="https://64.media.example/w/s75x75_c1/w.jpg 75w, https://64.media.example/w/s640x960/w.jpg 640w" '
        'sizes="(max-width: 1200px) 100vw, 1200px" alt="{a}"/></figure></div><p class="npf_chat" data-npf=\'{{"subtype":"chat"}}\'><b>UN:</b> {q}</p>',
    'livejournal': '<lj-cut text="{l}">{p}</lj-cut><br /><lj user="un_kz" /> {q}<br /><img src="https://ic.pics.example/w.jpg" alt="{a}" title="{c}" />',
    'telegram bridge': '{p}<br><br><b>{t}</b><br><i>{q}</i><br><a href="https://t.me/un/12">https://t.me/un/12</a><br><tg-emoji emoji-id="5">💧</tg-emoji> <span class="tg-spoiler">'
        '{c}</span><blockquote expandable>{l}</blockquote>',
    'bitrix': '<div class="detail_picture"><img border="0" src="https://gov.example/upload/iblock/w.jpg" width="800" height="533" alt="{a}" title="{a}"></div>'
        '<div class="news-detail"><div style="text-align: justify;"> {p}<br> <br></div><p align="justify"><span style="font-size: 12pt;">{q}</span></p><!--noindex-->'
        '<a target="_blank" rel="nofollow" href="https://gov.example/bitrix/redirect.php?goto=https://gov.example/r">{l}</a><!--/noindex--></div>',
    'gov kz portal': '<div class="article__body"><p style="text-align:justify;"><strong>{t}</strong></p><p style="text-align:justify;">{p}</p>'
        '<figure class="image image-style-align-left"><img src="https://gov.example/uploads/2026/11/30/w.jpg" alt="{a}"></figure><figure class="media">'
        '<oembed url="https://www.youtube.com/watch?v=abcDEF12345"></oembed></figure><p>{q}</p></div>',
    'ckeditor5 raw oembed': '<p>{p}</p><figure class="media"><div data-oembed-url="https://vimeo.com/76979871">'
        '<div style="position: relative; padding-bottom: 100%; height: 0; padding-bottom: 56.25%;">'
        '<iframe src="https://player.vimeo.com/video/76979871" style="position: absolute; width: 100%; height: 100%; top: 0; left: 0;" frameborder="0" allow="autoplay; '
        'encrypted-media" allowfullscreen=""></iframe></div></div></figure><p>{q}</p>',
    'tinymce media': '<p>{p}</p><p><span class="mce-preview-object mce-object-video"><video controls="controls" width="300" height="150">'
        '<source src="https://gov.example/v.mp4" type="video/mp4"></video></span></p><p class="mceNonEditable">{q}</p><!-- pagebreak --><p>&nbsp;</p><p><em>{c}</em></p>',
    'quill': '<p class="ql-align-justify">{p}</p><iframe class="ql-video" frameborder="0" allowfullscreen="true" src="https://www.youtube.com/embed/abcDEF12345?showinfo=0">'
        '</iframe><ol><li data-list="bullet"><span class="ql-ui" contenteditable="false"></span>{q}</li></ol><span class="ql-formula" data-value="x^2">x²</span>'
        '<pre class="ql-syntax" spellcheck="false">{c}</pre>',
    'froala': '<p>{p}<span class="fr-video fr-deletable fr-fvc fr-dvb fr-draggable" contenteditable="false" draggable="true">'
        '<iframe width="640" height="360" src="https://www.youtube.com/embed/abcDEF12345?&wmode=opaque" frameborder="0" allowfullscreen="" class="fr-draggable"></iframe>'
        '</span></p><p><img src="https://gov.example/w.jpg" style="width: 300px;" class="fr-fic fr-dib" alt="{a}"></p><p>{q}</p><p data-f-id="pbf">{c}</p>',
    'trix rails': '<div class="trix-content"><h1>{t}</h1><div>{p}<action-text-attachment sgid="x" content-type="image/jpeg" url="https://gov.example/w.jpg" filename="w.jpg" '
        'filesize="1" width="800" height="533" previewable="true" presentation="gallery"><figure class="attachment attachment--preview attachment--jpg">'
        '<img src="https://gov.example/w.jpg" alt="{a}"><figcaption class="attachment__caption">{c}</figcaption></figure></action-text-attachment>{q}</div></div>',
    'editorjs': '<div class="cdx-block ce-paragraph" contenteditable="true">{p}</div><div class="cdx-block image-tool image-tool--filled"><div class="image-tool__image">'
        '<img class="image-tool__image-picture" src="https://gov.example/w.jpg" alt="{a}"></div><div class="cdx-input image-tool__caption" contenteditable="true">'
        '{c}</div></div><div class="cdx-block cdx-warning"><div class="cdx-input cdx-warning__title">{t}</div><div class="cdx-input cdx-warning__message">{q}</div></div>',
    'contentful': '<p><b>{t}</b></p><p>{p}</p><p></p><p><a href="https://gov.example/r">{l}</a><br/></p><hr/><figure><img src="//images.ctf.example/w.jpg" alt="{a}"/></figure>'
        '<table><tr><th><p>{c}</p></th></tr><tr><td><p>{q}</p></td></tr></table>',
    'wagtail': '<div class="rich-text"><h2 data-block-key="k1">{t}</h2><p data-block-key="k2">{p}</p></div>'
        '<img alt="{a}" class="richtext-image full-width" height="533" src="https://gov.example/images/w.width-800.jpg" width="800">'
        '<div style="padding-bottom: 56.25%;" class="responsive-object">'
        '<iframe width="200" height="113" src="https://www.youtube.com/embed/abcDEF12345?feature=oembed" frameborder="0" title="{c}"></iframe></div><p>'
        '{q} <a href="https://gov.example/documents/4/r.pdf" data-block-key="z">{l}</a></p>',
    'craft redactor': '<p>{p}</p><figure data-widget="image"><img src="https://gov.example/w.jpg" data-image="0a" alt="{a}"><figcaption>{c}</figcaption></figure>'
        '<aside class="callout"><p>{q}</p></aside><p class="readmore"><a href="https://gov.example/r">{l}</a></p>',
    'umbraco': '<div class="umb-block-grid__layout-item" data-content-element-type-alias="richText" style="--umb-block-grid--item-column-span: 12"><p>{p}</p><p>'
        '<img src="https://gov.example/media/w.jpg?rmode=max&amp;width=500" alt="{a}" data-udi="umb://media/0a"></p></div>'
        '<div class="umb-embed-holder" data-embed-url="https://www.youtube.com/watch?v=abcDEF12345" data-embed-height="240" data-embed-width="360">'
        '<iframe width="360" height="203" src="https://www.youtube.com/embed/abcDEF12345?feature=oembed" title="{t}"></iframe></div><p>'
        '{q} <a href="https://gov.example/r" title="r" data-udi="umb://document/0a">{l}</a></p>',
    'hubspot': '<div class="hs-featured-image-wrapper"> <a href="https://hub.example/p" title="" class="hs-featured-image-link">'
        ' <img src="https://hub.example/w.jpg" alt="{a}" class="hs-featured-image" style="width:auto !important; max-width:50%; float:left; margin:0 15px 15px 0;"> </a>'
        ' </div> <p>{p}</p> <!--more--><p>{q}</p> <div class="hs-embed-wrapper" data-service="youtube" data-responsive="true" style="position: relative;">'
        '<div class="hs-embed-content-wrapper"><iframe width="256" height="144" src="https://www.youtube.com/embed/abcDEF12345?feature=oembed" title="{t}"></iframe>'
        '</div></div><span class="hs-cta-wrapper" id="hs-cta-wrapper-1"><span class="hs-cta-node hs-cta-1"><!--[if lte IE 8]><div id="hs-cta-ie-element"></div>'
        '<![endif]--><a href="https://cta.example/redirect/1"><img class="hs-cta-img" src="https://no-cache.example/1.png" alt="{l}"></a></span></span>'
        '  <img src="https://track.example/__ptq.gif?a=1&amp;k=14" alt="" width="1" height="1" style="min-height:1px!important;width:1px!important;border-width:0!important;">',
    'mailchimp archive': '<table border="0" cellpadding="0" cellspacing="0" width="100%" class="mcnTextBlock" style="min-width:100%;"><tbody class="mcnTextBlockOuter"><tr>'
        '<td valign="top" class="mcnTextBlockInner"><!--[if mso]><table><tr><td><![endif]--><table align="left" class="mcnTextContentContainer"><tbody><tr>'
        '<td class="mcnTextContent"><h1>{t}</h1>{p}<br>{q}</td></tr></tbody></table><!--[if mso]></td></tr></table><![endif]--></td></tr></tbody></table>'
        '<table class="mcnImageBlock"><tbody><tr><td><img align="center" alt="{a}" src="https://mcusercontent.example/w.jpg" width="564" style="max-width:1200px;" '
        'class="mcnImage"></td></tr></tbody></table><table class="mcnButtonBlock"><tbody><tr><td>'
        '<a class="mcnButton " title="{l}" href="https://gov.example/r" target="_blank">{l}</a></td></tr></tbody></table>',
    'outlook paste': '<div class="WordSection1"><p class="MsoNormal"><span lang="RU" style="mso-ansi-language:RU">{p}<o:p></o:p></span></p><p class="MsoNormal"><!--[if gte vml 1]>'
        '<v:shape id="i" style="width:300pt"><v:imagedata src="cid:1" o:title="x"/></v:shape><![endif]--><![if !vml]>'
        '<img width="300" height="200" src="https://gov.example/w.png" v:shapes="i" alt="{a}"><![endif]></p><p class="MsoNormal">'
        '{q} <a href="https://eur03.safelinks.protection.outlook.com/?url=https%3A%2F%2Fgov.example%2Fr&amp;data=05%7C02&amp;reserved=0" '
        'originalsrc="https://gov.example/r">{l}</a></p></div>',
    'libreoffice export': '<p lang="ru-RU" class="western" align="justify" style="line-height: 100%; margin-bottom: 0cm"><font face="Times New Roman, serif">'
        '<font size="4" style="font-size: 14pt"><span lang="kk-KZ">{p}</span></font></font></p><p>'
        '<img src="https://gov.example/a_html_1.png" name="Image1" align="left" width="300" height="200" border="0" alt="{a}"/><br clear="left"/></p><p>'
        '{q}<a class="sdfootnoteanc" name="sdfootnote1anc" href="#sdfootnote1sym"><sup>1</sup></a></p><div id="sdfootnote1"><p class="sdfootnote">'
        '<a class="sdfootnotesym" name="sdfootnote1sym" href="#sdfootnote1anc">1</a>{c}</p></div>',
    'onlyoffice yandex docs': '<p style="margin:0;text-align:justify" class="docData;DOCY;v5;123;">'
        '<span style="font-family:\'Arial\';font-size:11pt;color:#000000;mso-style-textfill-type:solid">{p}</span></p><p><span>{q}</span></p><p>'
        '&nbsp;<a href="https://gov.example/r" title="{c}"><span style="text-decoration:underline">{l}</span></a></p>',
    'confluence': '<p>{p}</p><div class="confluence-information-macro confluence-information-macro-note conf-macro output-block"><p class="title">{t}</p>'
        '<span class="aui-icon aui-icon-small aui-iconfont-warning confluence-information-macro-icon"></span><div class="confluence-information-macro-body"><p>{q}</p>'
        '</div></div><span class="confluence-embedded-file-wrapper"><img class="confluence-embedded-image" draggable="false" src="https://wiki.example/download/w.png" '
        'data-image-src="https://wiki.example/download/w.png" alt="{a}"></span><div id="expander-1" class="expand-container conf-macro">'
        '<div id="expander-control-1" class="expand-control"><span class="expand-control-text">{c}</span></div><div id="expander-content-1" class="expand-content"><p>'
        '{l}</p></div></div>',
    'mediawiki': '<div class="mw-parser-output"><figure class="mw-default-size" typeof="mw:File/Thumb"><a href="https://wiki.example/File:W.jpg" class="mw-file-description">'
        '<img alt="{a}" src="//upload.example/220px-W.jpg" decoding="async" width="220" height="147" class="mw-file-element" srcset="//upload.example/330px-W.jpg 1.5x, '
        '//upload.example/440px-W.jpg 2x"></a><figcaption>{c}</figcaption></figure><p>{p}<sup id="cite_ref-1" class="reference"><a href="#cite_note-1">'
        '<span class="cite-bracket">[</span>1<span class="cite-bracket">]</span></a></sup></p><ol class="references"><li id="cite_note-1"><span class="mw-cite-backlink">'
        '<b><a href="#cite_ref-1">^</a></b></span> <span class="reference-text">{q} <a rel="nofollow" class="external text" href="https://gov.example/r">{l}</a></span>'
        '</li></ol></div>',
    'aem': '<div class="cmp-container"><div class="title"><div class="cmp-title"><h2 class="cmp-title__text">{t}</h2></div></div><div class="text"><div class="cmp-text"><p>'
        '{p}</p></div></div><div class="image"><div data-cmp-is="image" data-cmp-widths="320,800" '
        'data-cmp-src="https://gov.example/w.coreimg.80{{.width}}.jpeg/1/w.jpeg" class="cmp-image" itemscope>'
        '<img src="https://gov.example/w.coreimg.jpeg/1/w.jpeg" class="cmp-image__image" itemprop="contentUrl" alt="{a}">'
        '<span class="cmp-image__title" itemprop="caption">{c}</span></div></div><div class="accordion"><div class="cmp-accordion__item">'
        '<h3 class="cmp-accordion__header"><button class="cmp-accordion__button" aria-expanded="false"><span class="cmp-accordion__title">{l}</span>'
        '<span class="cmp-accordion__icon"></span></button></h3><div role="region" class="cmp-accordion__panel cmp-accordion__panel--hidden">{q}</div></div></div></div>',
    'sitecore teaser': '<section class="component rich-text"><div class="component-content"><p>{p}</p></div></section><div class="component promo"><div class="field-promoicon">'
        '<img src="https://gov.example/-/media/w.ashx?h=200&amp;w=300" alt="{a}" width="300" height="200" DisableWebEdit="False"></div><div class="field-promotext">'
        '{q}</div><div class="field-promolink"><a href="https://gov.example/r" data-variantitemid="x">{l}</a></div></div>',
    'webflow': '<div class="w-richtext"><p id="">{p}</p><figure id="" class="w-richtext-figure-type-video w-richtext-align-fullwidth" style="padding-bottom:56%" '
        'data-rt-type="video" data-rt-align="fullwidth"><div id=""><iframe allowfullscreen="true" frameborder="0" scrolling="no" '
        'src="https://www.youtube.com/embed/abcDEF12345" title="{t}"></iframe></div><figcaption>{c}</figcaption></figure>'
        '<figure class="w-richtext-figure-type-image" data-rt-type="image"><div><img src="https://webflow.example/w.jpeg" loading="lazy" alt="{a}"></div></figure><p>'
        '\u200d</p><p>{q}</p></div>',
    'tilda': '<div id="rec1" class="r t-rec" data-record-type="106"><div class="t004"><div class="t-container "><div class="t-col t-col_8 t-prefix_2">'
        '<div field="text" class="t-text t-text_md ">{p}<br /><br /></div></div></div></div></div><div class="t107">'
        '<img class="t-img t-width t107__width" src="https://thb.tilda.example/-/resize/20x/w.jpg" data-original="https://static.tilda.example/w.jpg" imgfield="img" '
        'alt="{a}" /><div class="t-text">{c}</div></div><div class="t-redactor__callout"><div class="t-redactor__text">{q}</div></div>',
    'telegraph': '<h3 dir="auto" id="x">{t}</h3><p dir="auto">{p}</p><figure><div class="figure_wrapper"><img src="/file/w.jpg" alt="{a}"></div><figcaption dir="auto">'
        '{c}</figcaption></figure><figure><div class="figure_wrapper"><div class="iframe_wrap"><div class="iframe_helper" style="padding-top: 56.25%;">'
        '<iframe src="/embed/youtube?url=https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3DabcDEF12345" width="640" height="360" frameborder="0"></iframe></div></div></div>'
        '<figcaption>{q}</figcaption></figure><aside>{l}</aside>',
    'linkedin article': '<p>{p}</p><div class="slate-resizable-image-embed slate-image-embed__resize-full-width">'
        '<img alt="{a}" src="https://media.licdn.example/dms/w" data-media-urn="urn:li:digitalmediaAsset:1"></div><h3>{t}</h3><p>'
        '{q} <a href="https://gov.example/r" target="_blank" rel="nofollow noopener">{l}</a></p><center></center>',
    'dzen': '<p class="article-render__block article-render__block_unstyled">{p}</p><figure class="article-image-item"><picture>'
        '<source type="image/webp" srcset="https://avatars.dzen.example/w/scale_1200_webp">'
        '<img class="article-image-item__image" src="https://avatars.dzen.example/w/scale_1200" alt="{a}"></picture><figcaption>{c}</figcaption></figure>'
        '<blockquote class="article-render__block article-render__block_blockquote">{q}</blockquote>',
    'instant article': '<article><header><h1>{t}</h1><time class="op-published" datetime="2026-11-30">30</time></header><p>{p}</p><figure data-feedback="fb:likes">'
        '<img src="https://gov.example/w.jpg" alt="{a}"/><figcaption>{c}<cite>UN</cite></figcaption></figure><figure class="op-interactive">'
        '<iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe></figure><figure class="op-tracker"><iframe hidden><script>x()</script></iframe></figure>'
        '<aside>{q}</aside><footer><small>{l}</small></footer></article>',
    'amp page': '<p>{p}</p><amp-img src="https://gov.example/w.jpg" width="800" height="533" layout="responsive" alt="{a}"><noscript>'
        '<img src="https://gov.example/w.jpg" alt="{a}"></noscript></amp-img><amp-youtube data-videoid="abcDEF12345" layout="responsive" width="480" height="270">'
        '</amp-youtube><amp-accordion><section><h4>{t}</h4><p>{q}</p></section></amp-accordion>',
    'svg chart': '<p>{p}</p><figure><svg role="img" aria-labelledby="t1 d1" width="400" height="200"><title id="t1">{a}</title><desc id="d1">{c}</desc>'
        '<rect width="40" height="10"/><text x="10" y="20">{t}</text></svg><figcaption>{l}</figcaption></figure><p>{q}</p>',
    'datawrapper blocks': '<p>{p}</p><div style="min-height:400px" id="datawrapper-vis-AbC12">'
        '<script type="text/javascript" defer src="https://datawrapper.dwcdn.net/AbC12/embed.js" charset="utf-8" data-target="#datawrapper-vis-AbC12"></script><noscript>'
        '<img src="https://datawrapper.dwcdn.net/AbC12/full.png" alt="{a}" /></noscript></div><p>{q}</p>',
    'image map': '<p>{p}</p><img src="https://gov.example/map.png" usemap="#m" alt="{a}" width="400" height="300"><map name="m">'
        '<area shape="rect" coords="0,0,9,9" href="https://gov.example/r" alt="{l}"></map><p>{q}</p>',
    'hidden and aria': '<p>{p}</p><p class="screen-reader-text">{c}</p><p hidden>{l}</p><a href="https://gov.example/r" aria-label="{t}"><i class="icon"></i></a><p>{q}</p>',
    'dl abbr ruby': '<dl><div><dt>{t}</dt><dd>{p}</dd></div></dl><p><abbr title="{c}">UN</abbr> <ruby>水<rp>(</rp><rt>みず</rt><rp>)</rp></ruby> <bdo dir="ltr">{q}</bdo> <ins>{a}</ins>'
        '<del>{l}</del></p>',
    'template and slots': '<p>{p}</p><un-card title="{t}"><span slot="body">{q}</span></un-card><object data="https://gov.example/r.pdf" type="application/pdf"><p>'
        '<a href="https://gov.example/r.pdf">{l}</a></p></object>',
}  # fmt: skip

MARKDOWN = {
    'hugo more': (
        '{p}\n\n{{{{< gallery >}}}}\n{{{{< figure src="https://cms.example/w.jpg" alt="{a}" title="{t}" >}}}}\n{{{{< /gallery >'
        '}}}}\n\n{{{{% alert color="info" %}}}}\n{q}\n{{{{% /alert %}}}}\n\n{{{{< button href="https://cms.example/r" >}}}}{l}{{{{< /button >}}}}\n',
        '<p>{p}</p><figure><img src="https://cms.example/w.jpg" alt="{a}"><figcaption>{t}</figcaption></figure><p>{q}</p><a href="https://cms.example/r">{l}</a>',
    ),
    'hugo qr img': (
        '{p}\n\n{{{{< img src="https://cms.example/w.jpg" alt="{a}" caption="{c}" >}}}}\n\n{{{{< image src="https://cms.example/v.jpg" alt="{l}" >}}}}\n\n{q}\n',
        '<p>{p}</p><img src="https://cms.example/w.jpg" alt="{a}"><p>{c}</p><img src="https://cms.example/v.jpg" alt="{l}"><p>{q}</p>',
    ),
    'hugo vimeo audio': (
        '{p}\n\n{{{{< vimeo 76979871 >}}}}\n\n{{{{< x user="UN" id="1700000000000000000" >}}}}\n\n{q}\n',
        '<p>{p}</p><iframe src="https://player.vimeo.com/video/76979871"></iframe><iframe src="https://x.com/UN/status/1700000000000000000"></iframe><p>{q}</p>',
    ),
    'jekyll includes': (
        '{p}\n\n{{% include figure.html src="https://cms.example/w.jpg" alt="{a}" caption="{c}" %}}\n\n{{% include youtube.html id="abcDEF12345" %}}\n\n{q}{{: .notice--info}}\n',
        '<p>{p}</p><figure><img src="https://cms.example/w.jpg" alt="{a}"><figcaption>{c}</figcaption></figure><iframe src="https://www.youtube.com/embed/abcDEF12345">'
        '</iframe><p>{q}</p>',
    ),
    'jekyll liquid': (
        '{{% raw %}}{p}{{% endraw %}}\n\n{{% capture note %}}{q}{{% endcapture %}}\n\n[{l}]({{{{ "https://cms.example/r" | absolute_url }}}})\n',
        '<p>{p}</p><p>{q}</p><p><a href="https://cms.example/r">{l}</a></p>',
    ),
    'obsidian links': (
        '# {t}\n\n{p} [[Wells|{l}]] and [[{c}]]\n\n> [!warning]- {a}\n> {q}\n\n![[https://cms.example/w.jpg|{a}]]\n',
        '<h1>{t}</h1><p>{p} {l} and {c}</p><p>{a}</p><p>{q}</p><img src="https://cms.example/w.jpg" alt="{a}">',
    ),
    'obsidian pdf video': (
        '{p}\n\n![{t}](https://www.youtube.com/watch?v=abcDEF12345)\n\n![{a}|300](https://cms.example/w.jpg)\n\n{q} ^block1\n\n%%{c}%%\n',
        '<p>{p}</p><iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe><img src="https://cms.example/w.jpg" alt="{a}"><p>{q}</p>',
    ),
    'logseq': (
        '- {p}\n\tid:: 65abc\n\tcollapsed:: true\n\t- {q}\n- {{{{video https://www.youtube.com/watch?v=abcDEF12345}}}}\n- ![{a}](https://cms.example/w.jpg){{:height 200, :width '
        '300}}\n- #+BEGIN_NOTE\n{c}\n#+END_NOTE\n',
        '<ul><li>{p}<ul><li>{q}</li></ul></li><li><iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe></li><li>'
        '<img src="https://cms.example/w.jpg" alt="{a}"></li><li>{c}</li></ul>',
    ),
    'notion md': (
        '# {t}\n\n<aside>\n💡 {p}\n\n</aside>\n\n- {c}\n    \n    {q}\n    \n\n![{a}](https://cms.example/w.jpg)\n\n{a}\n\n[https://gov.example/r](https://gov.example/r)\n',
        '<h1>{t}</h1><aside>💡 {p}</aside><ul><li>{c}<p>{q}</p></li></ul><img src="https://cms.example/w.jpg" alt="{a}"><p>{a}</p><a href="https://gov.example/r">'
        'https://gov.example/r</a>',
    ),
    'google docs md': (
        '# **{t}** {{#t}}\n\n{p}[^1]\n\n![{a}][image1]\n\n| {c} | {l} |\n| :---- | :---- |\n| {q} | 1 |\n\n[^1]:  {l}\n\n[image1]: https://cms.example/w.png\n',
        '<h1>{t}</h1><p>{p}</p><img src="https://cms.example/w.png" alt="{a}"><table><tr><th>{c}</th><th>{l}</th></tr><tr><td>{q}</td><td>1</td></tr></table><p>{l}</p>',
    ),
    'docusaurus': (
        ':::tip {t}\n\n{p}\n\n:::\n\n<details>\n  <summary>{c}</summary>\n\n  {q}\n\n</details>\n\n<Tabs>\n<TabItem value="a" label="{l}">\n\n{a}\n\n</TabItem>\n</Tabs>\n',
        '<p>{t}</p><p>{p}</p><details><summary>{c}</summary><p>{q}</p></details><p>{l}</p><p>{a}</p>',
    ),
    'mkdocs': (
        '!!! note "{t}"\n    {p}\n\n??? tip "{c}"\n    {q}\n\n=== "{l}"\n\n    {a}\n',
        '<p>{t}</p><p>{p}</p><p>{c}</p><p>{q}</p><p>{l}</p><p>{a}</p>',
    ),
    'myst pandoc': (
        ':::{{note}} {t}\n{p}\n:::\n\n```{{figure}} https://cms.example/w.jpg\n:alt: {a}\n\n{c}\n```\n\n::: {{.callout-tip}}\n{q}\n:::\n',
        '<p>{t}</p><p>{p}</p><img src="https://cms.example/w.jpg" alt="{a}"><p>{c}</p><p>{q}</p>',
    ),
    'gitbook': (
        '{{% hint style="info" %}}\n{p}\n{{% endhint %}}\n\n{{% embed url="https://www.youtube.com/watch?v=abcDEF12345" %}}\n\n{{% tabs %}}\n{{% tab title="{t}" %}}\n{q}\n{{% '
        'endtab %}}\n{{% endtabs %}}\n',
        '<p>{p}</p><iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe><p>{t}</p><p>{q}</p>',
    ),
    'decap components': (
        '{p}\n\n`youtube: abcDEF12345`\n\n![{a}](https://cms.example/w.jpg "{c}")\n\n{q}\n',
        '<p>{p}</p><p>youtube: abcDEF12345</p><img src="https://cms.example/w.jpg" alt="{a}"><p>{q}</p>',
    ),
    'zettlr bear': (
        '# {t}\n#tag/sub# \n\n{p} ::{c}::\n\n- [>] {l}\n- [/] {a}\n\n{q} ~~old~~ @@x@@\n',
        '<h1>{t}</h1><p>{p} {c}</p><ul><li>{l}</li><li>{a}</li></ul><p>{q} old</p>',
    ),
    'word to md': (
        '**{t}**\n\n{p}\\\n{q}\n\n  -----\n  {c}  {l}\n  -----\n\n![{a}](https://cms.example/w.png){{width="6in" height="4in"}}\n',
        '<b>{t}</b><p>{p}<br>{q}</p><p>{c} {l}</p><img src="https://cms.example/w.png" alt="{a}">',
    ),
    'wiki table html': (
        '<table>\n<tr><td>{t}</td></tr>\n</table>\n\n{p}\n\n<p align="center">\n  <img src="https://cms.example/w.jpg" alt="{a}" width="300">\n  <br><em>{c}</em>\n</p>\n\n{q}\n',
        '<table><tr><td>{t}</td></tr></table><p>{p}</p><p><img src="https://cms.example/w.jpg" alt="{a}"><br>{c}</p><p>{q}</p>',
    ),
    'azure github': (
        '> [!CAUTION]\n> {p}\n\n[[_TOC_]]\n\n::: video\n<iframe src="https://www.youtube.com/embed/abcDEF12345" title="{t}"></iframe>\n:::\n\n- [ ] {q}\n- [x] {c} :tada:\n',
        '<p>{p}</p><iframe src="https://www.youtube.com/embed/abcDEF12345"></iframe><ul><li>{q}</li><li>{c}</li></ul>',
    ),
}  # fmt: skip

REPORTED = {"google docs html export", "substack footnote anchors", "svg chart", "hugo more", "docusaurus"}
"""Stories that lose something, which `check` names: a comment of an editor, a button, a drawing, marks of a theme."""
