"""Break a promise in one line: the test that guards it must fail.

Each mutation changes one line in a copy of the source and runs the named test there. That takes some seconds each, so
`make test-all` tries a few. MUTATIONS=all tries all of them, MUTATIONS=NAME,... some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A line of `src/tidings/FILE` that is changed, and the test that notices it."""

    name: str
    file: str
    line: str
    instead: str
    test: str


MUTATIONS = (
    Mutation(
        "intents-after-leaving", "store/delivery/journal.py", " AND value = :version", "",
        "tests/store/delivery/test_journal.py::test_none_of_many_begins_once_somebody_has_left",
    ),
    Mutation(
        "claims-for-who-has-left", "store/delivery/claims.py", "reason = _skip_reason(delivery, row)", "reason = None",
        "tests/store/delivery/test_claims.py::test_who_has_left_is_skipped_with_the_reason",
    ),
    Mutation(
        "late-results-count", "store/delivery/settling.py",
        "d.c.fence == delivery.fence,\n                d.c.state", "d.c.state",
        "tests/store/delivery/test_ledger.py::test_the_fence_makes_a_late_write_void",
    ),
    Mutation(
        "child-without-limit-of-memory", "child_process.py",
        "resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))", "pass",
        "tests/sources/test_child_process.py::test_a_child_cannot_fill_the_memory",
    ),
    Mutation(
        "child-without-limit-of-time", "child_process.py",
        "signal.setitimer(signal.ITIMER_PROF, seconds)", "pass",
        "tests/sources/test_child_process.py::test_a_child_ends_at_its_limit_of_time",
    ),
    Mutation(
        "sanitise-in-the-main-process", "sources/article.py",
        "answer = run_in_child(build_requests, _REQUESTS.dump_json(requests), SECONDS)",
        "answer = build_requests(_REQUESTS.dump_json(requests))",
        "tests/sources/test_child_process.py::test_hostile_markup_never_holds_up_a_feed",
    ),
    Mutation(
        "follow-links", "sources/media.py", "os.O_RDONLY | os.O_NOFOLLOW |", "os.O_RDONLY |",
        "tests/sources/test_child_process.py::test_a_link_in_place_of_a_file_is_not_opened",
    ),
    Mutation(
        "answers-without-deadline", "net.py", "len(taken) > most or time.monotonic() > deadline", "len(taken) > most",
        "tests/test_net.py::test_an_answer_that_drips_without_end_is_cut_at_the_deadline",
    ),
    Mutation(
        "site-local-counts-as-public", "net.py", '"fec0::/10", ', "",
        "tests/test_net.py::test_inner_addresses_are_not_public",
    ),
    Mutation(
        "store-readable-for-all", "store/engine.py", "path.chmod(mode & 0o700)", "pass",
        "tests/store/test_files.py::test_an_open_store_is_closed_to_other_users",
    ),
    Mutation(
        "forgeable-marks", "render/mail/fragments.py",
        'secret = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).hexdigest()', 'secret = "tidings"',
        "tests/render/mail/test_digest.py::test_no_story_can_write_the_marks_between_parts",
    ),
    Mutation(
        "lists-summed-in-templates", "render/sandbox.py", "if not isinstance(start, int | float):", "if False:",
        "tests/render/test_sandbox.py::test_no_expression_makes_a_huge_result",
    ),
    Mutation(
        "own-templates-in-the-main-process", "render/templates.py", "return own or \"{\" in subject", "return False",
        "tests/render/test_template_check.py::test_own_templates_are_rendered_in_the_child",
    ),
    Mutation(
        "idle-connections-stay", "web/connections.py",
        "self._timer = self.loop.call_later(seconds, self.transport.abort)", "pass",
        "tests/web/test_connections.py::test_a_body_that_never_ends_is_cut_off",
    ),
    Mutation(
        "connections-without-number", "web/connections.py", "if len(there) <= self.most:", "if True:",
        "tests/web/test_connections.py::test_idle_connections_never_keep_readers_out",
    ),
    Mutation(
        "headers-of-any-length", "pipeline/track/report_parser.py", "lines.append(line[:left])", "lines.append(line)",
        "tests/pipeline/track/test_report_parser.py::test_reading_a_bounce_takes_linear_time",
    ),
    Mutation(
        "backup-headers-of-any-length", "runtime/backup/backup_file.py",
        "if not is_file and self.size > _MAX_HEADER:", "if False:",
        "tests/runtime/backup/test_backup.py::test_a_backup_with_a_huge_header_is_refused",
    ),
    Mutation(
        "dead-processes-live-on", "store/locks.py", "except FileNotFoundError:\n            return False",
        "except FileNotFoundError:\n            return True", "tests/store/test_locks.py",
    ),
    Mutation(
        "repeated-lines-fill-the-log", "runtime/monitoring/log.py", "return count < _REPEATS", "return True",
        "tests/runtime/monitoring/test_log.py::test_repeated_lines_are_counted_not_written",
    ),
    Mutation(
        "doubtful-words-suppress", "model/refusal.py", "in (Fault.MAILBOX, Fault.SERVER) else Effect.BLOCKED",
        "in (Fault.MAILBOX, Fault.SERVER) else Effect.HARD",
        "tests/model/test_refusal.py::test_nobody_is_suppressed_by_doubtful_words",
    ),
    Mutation(
        "no-breaker-in-the-session", "pipeline/track/bounces.py",
        "if doubted and edition is not None and edition.state in",
        "if False and edition is not None and edition.state in",
        "tests/pipeline/track/test_breaker.py::test_a_relay_that_says_all_are_gone_holds",
    ),
    Mutation(
        "no-breaker-for-what-comes-back", "pipeline/track/breaker.py",
        "is_most = bounced >= breaker.alike and 2 * bounced > accepted", "return False",
        "tests/pipeline/track/test_breaker.py::test_bounces_of_everybody_that_come_later_are_not_believed",
    ),
    Mutation(
        "test-mails-forget-refusals", "store/delivery/refusals.py",
        "func.coalesce(d.subscriber, tested.scalar_subquery())",
        "d.subscriber",
        "tests/cli/test_commands.py::test_a_refused_test_mail_acts_as_any_other",
    ),
    Mutation(
        "old-links-leave-the-new-list-alone", "web/reader_actions.py", "contents.list, by_link=True)", "contents.list)",
        "tests/web/site/test_unsubscribe.py::test_an_old_link_leaves_though_its_name_is_taken",
    ),
    Mutation(
        "moved-slots-pass-an-edit", "pipeline/compose/due.py", "min(slot.key, slot.at) >= edited", "slot.at >= edited",
        "tests/pipeline/compose/test_edited_cadence.py::test_a_move_takes_no_older_slot_past_an_edit",
    ),
    Mutation(
        "editors-pictures-in-the-main-process", "sources/media.py", "measure_picture_in_child(file.read(), path.name)",
        "measure_picture(file, path.name)",
        "tests/sources/test_child_process.py::test_a_picture_of_an_editor_is_decoded_in_the_child",
    ),
    Mutation(
        "json-in-the-main-process", "sources/json_values.py", "run_in_child(find_json_problem, body, _SECONDS)",
        "find_json_problem(body)",
        "tests/sources/test_child_process.py::test_huge_json_of_a_website_is_never_built_here",
    ),
    Mutation(
        "refused-posts-without-name", "pipeline/deliver/batch.py",
        'return f"{reason} (delivery {delivery.id})" if self._lane.channel else reason', "return reason",
        "tests/pipeline/deliver/test_deliverer.py::test_a_channels_refusal_names_the_delivery",
    ),
)  # fmt: skip
CHOSEN = os.environ.get("MUTATIONS", "intents-after-leaving,claims-for-who-has-left,forgeable-marks").split(",")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_still_fits_the_source(mutation: Mutation) -> None:
    assert (ROOT / "src" / "tidings" / mutation.file).read_text(encoding="utf-8").count(mutation.line) == 1
    file, _, name = mutation.test.partition("::")
    assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [mutation for mutation in MUTATIONS if mutation.name in CHOSEN or CHOSEN == ["all"]],
    ids=lambda mutation: mutation.name,
)
def test_a_broken_promise_fails_a_test(mutation: Mutation, tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("templates", "schedules", "content"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "tidings.yaml", tmp_path)
    file = source / "tidings" / mutation.file
    file.write_text(file.read_text(encoding="utf-8").replace(mutation.line, mutation.instead), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.test],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{source}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout[-2_000:]
