"""A key that looks like a time of publishing, embargo or expiry sets the item aside, whatever its name."""

from __future__ import annotations

import pytest

from tidings.sources.folder.front_matter import read_front_matter
from tidings.sources.folder.moment_keys import find_meant_key

EMBARGO = (
    "embargo_until embargo-until embargoUntil EmbargoDate under_embargo embargoed embargoed_until "
    "is_embargoed news_embargo эмбарго_до embargo_jusqu_au sperrfrist Sperrfrist_bis 禁发 解禁日時 حظر_النشر "
    "not_before notBefore hold_until embargountil emBargo_time"
)
PUBLISHED = (
    "publish_at publishDate publish_date publish-on PublishTime release_date releaseDate release_at "
    "date_published datePublished date_of_publication pub_date pubDate pubdate go_live goLive live_at "
    "live_from available_from visible_after visible_from publication_date scheduled_for_date schedule_at "
    "launch_date post_date send_at show_from publishdate releasedate publish_time publish_after "
    "опубликовать_с дата_публикации дата_выхода жариялау_күні date_de_publication fecha_de_publicacion "
    "fecha_publicación veröffentlichen_am veroeffentlichungsdatum erscheinungsdatum data_publicacao "
    "data_pubblicazione yayın_tarihi 发布日期 公開日時 تاريخ_النشر published_at published-on "
    "announced_on unveil_date future_date newsletter_date релиз шыққан_күні datum_vydání udgivelsesdato ngày_đăng "
    "วันที่เผยแพร่ प्रकाशन_तिथि 출시일 発表日 تاریخ_انتشار זמן_פרסום"
)
EXPIRES = (
    "expires_at expiry expiry_date expiryDate expiration expiration_date expire_on unpublish_at "
    "unpublishDate unpublish_on valid_until validUntil hide_after remove_on delete_at archive_on "
    "publish_until visible_until depublication истекает действует_до ablaufdatum fecha_de_caducidad "
    "fecha_vencimiento scadenza 过期时间 期限 valid_to validThrough visible_to best_before retire_on offline_at "
    "removal_date срок_действия показывать_до удалить_после verfallsdatum périme_le 结束日期 終了日"
)
OWN = (
    "publisher published_by publication_name release_notes release_number launch_partner live_stream_link send_to "
    "show_to closing_remarks show_map author_note hero layout template donor project_number mood "
    "reading_time time_zone contact "
    "country deadline birth_date weight slug_old series canonical keywords subtitle photo_credit "
    "partner_logo available_languages visible valid last_modified created_by order rating сезон автор "
    "донор страна publisher_name date_format datestamp_style public audience onsite press_contact"
)


@pytest.mark.parametrize("key", EMBARGO.split())
def test_an_embargo_under_another_name_is_known(key: str) -> None:
    assert find_meant_key(key, "true") == "embargo"


@pytest.mark.parametrize("key", PUBLISHED.split())
def test_a_publishing_moment_under_another_name_is_known(key: str) -> None:
    assert find_meant_key(key, "2027-01-15T09:00") == "published"


@pytest.mark.parametrize("key", EXPIRES.split())
def test_an_expiry_under_another_name_is_known(key: str) -> None:
    assert find_meant_key(key, "2027-01-15") == "expires"


@pytest.mark.parametrize("key", OWN.split())
def test_a_key_that_is_plainly_something_else_stays(key: str) -> None:
    assert find_meant_key(key, "some words of ours") is None


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("release", "2027-01-15", "published"),
        ("release", "UN/24/117", None),
        ("publish", "15 January 2027", "published"),
        ("date", "2027-01-15", "published"),
        ("date", "to be announced", None),
        ("scheduled", "15.01.2027 09:00", "published"),
        ("schedule", '{"out": "2027-01-15"}', "published"),
        ("start_date", "2027-01-15", "starts"),
        ("endDate", "2027-01-15", "ends"),
        ("deadline", "2027-01-15", None),
        ("last_modified", "2027-01-15", None),
        ("status", "draft", "draft"),
        ("until", "2027-01-15", "expires"),
        ("status", "final", None),
        ("status", "in review", "draft"),
        ("visibility", "members", "draft"),
        ("unlisted", "true", "draft"),
        ("headless", "yes", "draft"),
        ("dg-publish", "false", "draft"),
        ("permalink", "false", "draft"),
        ("permalink", "/a/b/", None),
        ("eleventyExcludeFromCollections", "true", "draft"),
        ("hidden", "false", None),
        ("publication", "2027-01-15", "published"),
        ("publication", "Steppe Herald", None),
    ],
)
def test_the_value_decides_where_the_name_does_not(key: str, value: str, meant: str | None) -> None:
    assert find_meant_key(key, value) == meant


def test_a_draft_by_status_is_recognised() -> None:
    _, (problem,) = read_front_matter("---\ntitle: A release\nstatus: draft\n---\nText\n", "a.en.md")
    assert problem.mend.startswith("write `draft`")


def test_the_message_names_the_right_key_at_its_line() -> None:
    _, (problem,) = read_front_matter("---\ntitle: A release\nembargo-until: 2027-01-15\n---\nText\n", "a.en.md")
    assert (problem.line, problem.level) == (3, "error")
    assert "`embargo-until`" in problem.message and "write `embargo`" in problem.mend
