"""Plans as text: what people read before they say yes."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from ftspec.actions import Cost, ForgetJob, Quota, Reason
from ftspec.render.text import to_text
from ftspec.render.words import quota_text, size_text


def test_a_changed_job_reads_like_the_style_page(make):
    """Sign, address, base model, reason; the change; the counts."""
    plan = make.plan(make.upload(), make.changed("tone/seed=1", make.change(), reason=Reason.DATASET_CHANGED), cost=Cost(low=0, high=0))
    assert to_text(plan) == (
        "^   tone  300 rows, 64.4 kB  to sandbox  (not uploaded)\n"
        "+/. tone/seed=1  sandbox-small  (dataset changed)\n"
        "      epochs: 1 -> 3                          specs/tone.yaml:8:5\n"
        "\n"
        "Plan: 1 upload, 1 launch (1 changed), 0 reused.\n"
        "Tokens: unknown\n"
        "Cost: free"
    )


def test_nothing_to_do_is_two_lines(make):
    """Reused jobs are one line, whatever their number."""
    plan = make.plan(*(make.keep(f"{name}/seed={n}") for name in "ab" for n in range(5000)), cost=Cost(low=0.0, high=0.0))
    assert to_text(plan) == ".   10,000 reused  a 5,000, b 5,000\n\nPlan: nothing to do, 10,000 reused."


def test_an_empty_plan_says_so(make):
    """A spec without jobs."""
    assert to_text(make.plan()) == "Plan: nothing to do, 0 reused."


def test_like_cells_fold_into_a_table_of_their_axes(make):
    """Values are in natural order, and holes in the grid are mentioned."""
    cells = [make.launch(f"triage/size={size},seed={seed}") for size in ("mini", "small") for seed in (1, 2, 10)]
    assert to_text(make.plan(*cells)).split("\n\n", maxsplit=1)[0] == (
        "+   triage: 6 jobs  sandbox-small  (not recorded)\n      size  mini, small\n      seed  1, 2, 10"
    )
    assert "triage: 5 jobs (not every combination)" in to_text(make.plan(*cells[1:]))
    assert "triage/size=mini,seed=10" in to_text(make.plan(*cells), full=True)


def test_folded_cells_share_their_changes(make):
    """A change that is the same everywhere is shown once, one that differs is counted."""
    same = [make.changed(f"t/seed={n}", make.change()) for n in range(4)]
    text = to_text(make.plan(*same))
    assert text.count("epochs: 1 -> 3") == 1
    assert "+/. t: 4 jobs" in text
    different = [make.changed(f"t/seed={n}", make.change(old=n)) for n in range(5)]
    assert "epochs: 5 different changes             specs/tone.yaml:8:5" in to_text(make.plan(*different))
    two = [make.changed(f"t/seed={n}", make.change(old=n % 2)) for n in range(6)]
    assert to_text(make.plan(*two)).count("+/. t: 3 jobs") == 2


def test_two_cells_and_unlike_cells_are_not_folded(make):
    """Another reason, experiment, engine or changed setting is another entry."""
    two = to_text(make.plan(make.launch("t/seed=1"), make.launch("t/seed=2")))
    assert two.count("+   t/seed=") == 2
    unlike = make.plan(
        *(make.launch(f"t/seed={n}", job={"engine": "hosted"}) for n in range(3)),
        *(make.launch(f"t/seed={n}") for n in range(3, 6)),
        *(make.launch(f"t/seed={n}", reason=Reason.REFUSED_BEFORE) for n in range(6, 9)),
        *(make.changed(f"t/seed={n}", make.change("seed")) for n in range(9, 12)),
    )
    assert to_text(unlike).count("t: 3 jobs") == 4


def test_cells_without_axes_are_listed_by_address(make):
    """Named jobs of one experiment have no axes to fold into."""
    text = to_text(make.plan(*(make.launch(f"t/job{n}") for n in range(300))))
    assert "+   t: 300 jobs" in text
    assert "t/job0, t/job1," in text
    assert "... (300 values)" in text


def test_base_models_of_folded_cells(make):
    """An axis shows them; else one is named and several are counted; those of parents are known after apply."""
    axis = [make.launch(f"t/base_model={m}", job={"base_model": m}) for m in "abc"]
    assert "+   t: 3 jobs  (not recorded)" in to_text(make.plan(*axis))
    several = [make.launch(f"t/seed={n}", job={"base_model": m}) for n, m in enumerate("abc")]
    assert "+   t: 3 jobs  3 base models  (not recorded)" in to_text(make.plan(*several))
    chained = [make.launch(f"t/base_model={n}", job={"base_model": "", "parent": "tone/seed=1"}) for n in range(3)]
    assert "+   t: 3 jobs  (known after apply)" in to_text(make.plan(*chained))
    assert "+   t: 3 jobs  (not recorded)" in to_text(make.plan(make.keep("tone/seed=1"), *chained))


def test_a_parents_model_is_named_once_it_is_known(make):
    """Before that it reads (known after apply)."""
    child = make.launch("polish", job={"parent": "tone/seed=1", "base_model": ""})
    assert "+   polish  ft:tone/seed=1  (not recorded)" in to_text(make.plan(make.keep("tone/seed=1"), child))
    assert "+   polish  (known after apply)  (not recorded)" in to_text(make.plan(child))


def test_every_kind_of_action_has_its_line(make):
    """One plan with everything, as it is shown."""
    text = to_text(make.everything())
    for line in (
        "      seed: (not set) -> 1                    specs/tone.yaml:8:5",
        "      train: cdcdcdcdcdcd (300 rows) -> tone abababababab (302 rows)",
        "      base_model: model of tone/seed=1 (abababababab)",
        "        -> model of job cdcdcdcdcdcd",
        "+/. again  sandbox-small  (replace requested, attempt 2)",
        "+   retry/seed=1  sandbox-small  (retry failed, attempt 2)",
        "<   found  ftjob-9  (found on engine)",
        "*   holdout  2 models, 174 samples  (not evaluated)",
        "!   holdout on m  eval failed  (again with --retry-failed)",
        ">   run/seed=1  validating_files  ftjob-1",
        "!   bad/seed=1  failed: server_error: lost\\x0ait  (again with --retry-failed)",
        "!   bad/seed=2  cancelled  (again with --retry-failed)",
        "!   bad/seed=3  (retired: the engine no longer serves its model)",
        "?   doubt  in doubt since 2026-11-20T10:00:00Z",
        "!   child  not launched (parent failed: bad/seed=1)",
        "=   label/seed=1  (new label, same model)",
        "-   old/seed=1  (not in spec; record and model stay)",
        ".   3 reused  kept 2, label 1",
    ):
        assert line in text.split("\n"), line


def test_the_end_sums_up(make):
    """Counts, tokens, money with the date of its prices, policy, quota, options."""
    assert to_text(make.everything()).split("\n\n")[1] == (
        "Plan: 1 upload, 6 launches (3 changed, 1 replaced, 1 retried), 4 reused, 1\n"
        "  adopted, 2 evals, 1 relabelled, 3 failed, 1 in doubt, 1 waiting, 1 not in\n"
        "  spec.\n"
        "Tokens: about 4,800 to 6,000 trained\n"
        "Cost: 1.20 to 1.50 USD, prices of 2026-11-01\n"
        "Policy: refused\n"
        "  max_jobs: 6 launches are more than 5\n"
        "Quota: openai: 12 jobs, 8 a day (8 used), 3 at a time: 3 days; next slot\n"
        "  2026-11-21T10:00:00Z\n"
        "Options: --target tone/* --target polish --full --sample 5\n"
        "In doubt: what is marked `?` may have been bought; `ftspec status` says how to\n"
        "  settle it"
    )


def test_a_policy_that_holds_is_one_line(make):
    """Each rule with its figures."""
    plan = make.plan(make.launch(), verdicts=make.everything().verdicts[:1])
    assert "\nPolicy: ok (max_cost: 1.50 USD is within 60.00)" in to_text(plan)


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        (Cost(low=0.0, high=0.0, tokens=10, exact_tokens=True), "Cost: free"),
        (Cost(low=0.004, high=0.004, tokens=10, price_date="2026-11-01"), "Cost: 0.004 USD, prices of 2026-11-01"),
        (Cost(low=0.00001, high=12345.678, tokens=10), "Cost: 0.0001 to 12,345.68 USD"),
    ],
)
def test_money_is_shown_with_as_many_digits_as_it_takes(make, cost, line):
    """A small amount is not rounded to nothing."""
    assert line in to_text(make.plan(make.launch(), cost=cost)).split("\n")


def test_unknown_money_is_unknown_and_names_what_has_no_price(make):
    """The known part is a lower bound, never the whole."""
    unknown = [make.launch(f"t{n}", cost=Cost(tokens=5), job={"base_model": f"m{n}"}) for n in range(5)]
    priced = make.launch("x", cost=Cost(low=1.0, high=2.0, tokens=5, price_date="2026-11-01"))
    text = " ".join(to_text(make.plan(*unknown, cost=Cost())).split())
    assert "Cost: unknown (no price for m0 on sandbox, m1 on sandbox, m2 on sandbox and 2 more;" in text
    text = " ".join(to_text(make.plan(unknown[0], priced, cost=Cost(price_date="2026-11-01"))).split())
    assert "Cost: at least 1.00 USD, prices of 2026-11-01, the rest unknown (no price for m0 on sandbox;" in text
    assert "Cost: unknown (no token count for `tone`)" in to_text(make.plan(make.launch(cost=Cost()), cost=Cost()))
    text = to_text(make.plan(make.run(cost=Cost()), cost=Cost()))
    assert "Cost: unknown (no price for asking the evaluated models)" in text


def test_tokens_say_whether_they_were_counted(make):
    """Exact, about, a range, or unknown."""
    for cost, line in (
        (Cost(low=0.0, high=0.0, tokens=1200, exact_tokens=True), "Tokens: 1,200 trained"),
        (Cost(low=0.0, high=0.0, tokens=1200), "Tokens: about 1,200 trained"),
        (Cost(low=0.0, high=0.0), "Tokens: unknown"),
    ):
        assert line in to_text(make.plan(make.launch(), cost=cost)).split("\n")


def test_long_lists_of_problems_are_cut_unless_full(make):
    """A short plan shows ten of a kind and counts the rest."""
    plan = make.plan(*(make.wait(f"w{n}", Reason.PARENT_FAILED, "a") for n in range(15)))
    assert "    ... and 5 more waiting jobs; --full shows them" in to_text(plan)
    assert to_text(plan, full=True).count("not launched") == 15


def test_many_labels_runs_and_records_fold(make):
    """A renamed experiment is three lines, however large."""
    labels = [make.keep(f"new/seed={n}", labels=(make.change("address", f"old/seed={n}", f"new/seed={n}"),)) for n in range(50)]
    text = to_text(make.plan(*labels))
    assert "=   new: 50 jobs  (new address; same models)" in text
    assert "      for example address: old/seed=0 -> new/seed=0" in text
    running = to_text(make.plan(*(make.keep(f"r{n}/a", Reason.RUNNING) for n in range(5))))
    assert ">   5 running  r0, r1, r2 and 2 more" in running
    gone = to_text(make.plan(*(ForgetJob(record=make.record(f"old/{n}")) for n in range(5))))
    assert "-   5 recorded jobs  old  (not in spec; records and models stay)" in gone
    kept = to_text(make.plan(*(make.keep(f"k{n}/a") for n in range(9))))
    assert ".   9 reused  k0 1, k1 1, k2 1, k3 1, k4 1 and 4 experiments more" in kept


def test_a_full_plan_unfolds_everything(make):
    """Each job with its settings, tokens, cost and key, each reused job with its model."""
    job = {"hyperparameters": {"n_epochs": 3, "beta": 0.1}, "seed": 7, "suffix": "v1", "validation": "check", "depends_on": ("other",)}
    dear = make.launch("dear", cost=Cost())
    plan = make.plan(make.launch("tone/seed=7", job=job), dear, make.keep("kept/seed=1"), make.keep("r", Reason.RUNNING), make.run())
    text = " ".join(to_text(plan, full=True).split())
    for part in (
        "key abababababab; supervised on sandbox; train tone, validation check; beta 0.1; n_epochs 3; seed 7; suffix v1;",
        "tokens about 800 to 1,000; cost free; after other",
        "tokens unknown; cost unknown",
        ". kept/seed=1 ft:kept/seed=1 (recorded)",
        "> r running ftjob-1",
        "* holdout on tone/seed=1 87 samples (not evaluated)",
    ):
        assert part in text


def test_everything_fits_in_eighty_columns(make):
    """Except what must stay whole to be copied."""
    for full in (False, True):
        assert max(len(line) for line in to_text(make.everything(), full=full).split("\n")) <= 80
    long = "experiment/" + ",".join(f"axis{n}=value{n}" for n in range(9))
    lines = to_text(make.plan(make.launch(long))).split("\n")
    assert lines[0] == "+   " + long
    assert lines[1] == "      sandbox-small  (not recorded)"


def test_colour_changes_nothing_that_is_said(make):
    """Without the codes it is the same text."""
    plain, coloured = to_text(make.everything()), to_text(make.everything(), color=True)
    assert coloured != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_hostile_names_stay_on_their_line_and_do_nothing(make, hostile):
    """Escapes, line feeds, log commands and bidi overrides are shown, not obeyed."""
    job = {"base_model": hostile, "suffix": hostile}
    plan = make.plan(
        make.launch(hostile, job=job),
        make.changed(hostile, make.change(hostile, hostile, {hostile: [hostile]})),
        make.keep(hostile, Reason.RUNNING, raw_status=hostile, engine_job_id=hostile),
        make.keep(hostile, labels=(make.change("tags", {hostile: hostile}, {}),)),
        make.wait(hostile, Reason.PARENT_FAILED, hostile),
        make.upload(hostile),
        make.run(hostile),
        make.run(None, hostile),
        ForgetJob(record=make.record(hostile)),
        options={"target": [hostile]},
    )
    for full in (False, True):
        text = to_text(plan, full=full)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search(r"^\s*::", text, re.MULTILINE)
        assert "##[" not in text


def test_a_secret_in_a_setting_is_not_shown(make):
    """What looks like a key is redacted, in old and new values and in errors."""
    from ftspec.record import JobError

    plan = make.plan(
        make.changed("t", make.change("suffix", "sk-abcdefghijkl", {"x": "sk-abcdefghijkl"})),
        make.keep("f", Reason.FAILED, error=JobError(message="bad key sk-abcdefghijkl")),
    )
    assert "sk-abc" not in to_text(plan, full=True)
    assert "[redacted]" in to_text(plan)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (64_400, "64.4 kB"), (5_000_000, "5.0 MB"), (7_123_000_000_000, "7,123.0 GB")],
)
def test_sizes_are_for_people(size, text):
    """Decimal units, as vendors bill them."""
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("quota", "text"),
    [
        ({"per_day": 8}, "openai: 12 jobs, 8 a day: 2 days"),
        ({"max_running": 3, "days": 1}, "openai: 12 jobs, 3 at a time"),
    ],
)
def test_a_quota_says_how_long_it_takes(quota, text):
    """Twelve jobs, eight a day: two days."""
    given = {"engine": "openai", "launches": 12, "per_day": None, "max_running": None, "used_today": 0, "days": 2}
    assert quota_text(Quota(**(given | quota))) == text


def test_an_upload_goes_to_the_engine_as_the_spec_calls_it(make):
    """Not to its scope, which may be an address."""
    upload = replace(make.upload(), engine="lab", scope="openai-compatible/http://127.0.0.1:8765")
    assert to_text(make.plan(upload)).startswith("^   tone  300 rows, 64.4 kB  to lab  (not uploaded)\n")
