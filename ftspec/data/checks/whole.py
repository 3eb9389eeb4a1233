"""Rules about a dataset as a whole, and about datasets together. Reported by `stats`, `leakage` and `limits`."""

from __future__ import annotations

from ftspec.data.checks.base import INFO, WARNING, Check


class TooFewRows(Check):
    """There are fewer rows than the engine takes.

    Why: the engine refuses the job after the upload (OpenAI: 10).
    Fix: add rows.
    """

    code = "too-few-rows"
    help = "add rows, or use another engine"


class TooManyRows(Check):
    """There are more rows than the engine takes.

    Why: the engine refuses the job after the upload.
    Fix: sample the dataset.
    """

    code = "too-many-rows"
    help = "take a sample: `{type: sample, n: ...}` under `transforms:`"


class FewRows(Check):
    """There are fewer than 50 rows to train on.

    Why: 50 to 100 good rows are where fine-tuning starts to show; below, prompts do better.
    Fix: add rows.
    """

    code = "few-rows"
    severity = WARNING
    help = "50 to 100 rows are where fine-tuning starts to show"


class FileTooLarge(Check):
    """The file is larger than the engine takes.

    Why: the upload fails, late.
    Fix: sample the dataset, or shorten its rows.
    """

    code = "file-too-large"
    help = "take a sample: `{type: sample, fraction: ...}` under `transforms:`"


class DuplicateRow(Check):
    """A row is in the dataset more than once.

    Why: it counts more than the others, and is paid for each time. Rows that differ in other members (an id) only are
    the same to the model.
    Fix: `transforms: [{type: dedupe}]` (after `drop`, where other members differ), or `ftspec data check --fix`.
    """

    code = "duplicate-row"
    severity = WARNING
    help = "add `{type: dedupe}` under `transforms:`, or run `ftspec data check --fix`"


class AmbiguousPrompt(Check):
    """One prompt has different answers.

    Why: that is right for creative answers, and noise where there is one truth.
    Fix: compare the rows.
    """

    code = "ambiguous-prompt"
    severity = WARNING
    help = "compare the rows, unless several answers are right"


class LeakedRow(Check):
    """A row of the validation set or of an eval is in the training data.

    Why: the model has seen the answer, so its figures are not about new questions.
    Fix: split with `split:`, or remove the row from one of the two.
    """

    code = "leaked-row"
    help = "remove the row from one of the two, or deal rows with `split:`"


class LeakedPrompt(Check):
    """A prompt of the validation set or of an eval is in the training data, with another answer or system prompt.

    Why: the model has seen the question; figures on it are not about new questions.
    Fix: deal rows with `split:` and `group_by`, or remove the prompt from one of the two.
    """

    code = "leaked-prompt"
    severity = WARNING
    help = "remove the prompt from one of the two, or deal rows with `group_by:`"


class NearDuplicate(Check):
    """A row of the validation set or of an eval is nearly one of the training data.

    Why: a word or two changed still gives the answer away. Prompts that differ in case, punctuation, white space or
    Unicode forms only are found too, also where an eval has them in a field of its own.
    Fix: remove it from one of the two, or group such rows with `group_by`.
    """

    code = "near-duplicate"
    severity = WARNING
    help = "remove it from one of the two, or group such rows with `group_by:`"


class LeakedGroup(Check):
    """Rows of one group are on both sides of a split.

    Why: rows of one customer, document or conversation share what gives the answer away.
    Fix: deal whole groups with `group_by`.
    """

    code = "leaked-group"
    help = "deal whole groups: `split: {..., group_by: ...}`"


class LabelSkew(Check):
    """One answer makes up most of the rows.

    Why: a model that always gives it looks good and has learned nothing.
    Fix: balance the labels, or use per-label figures in evals.
    """

    code = "label-skew"
    severity = WARNING
    help = "balance the labels, or look at figures per label in evals"


class RareLabel(Check):
    """Some answers of a classification dataset appear in one row only.

    Why: one row teaches no class, and a class of one is mostly a typing error.
    Fix: correct the label, or add rows for it.
    """

    code = "rare-label"
    severity = WARNING
    help = "see them with `ftspec data stats`; correct them, or add rows"


class SourceMix(Check):
    """Rows come from several sources.

    Why: the mix decides what the model becomes; it should be the one you wanted.
    Fix: nothing, where it is meant.
    """

    code = "source-mix"
    severity = INFO
    help = "set the mix with `{type: mix, ...}` under `transforms:`"


class OverContext(Check):
    """Rows are longer than the model's training context.

    Why: engines cut them at the end, which is where the answer is.
    Fix: shorten or split the rows.
    """

    code = "over-context"
    severity = WARNING
    help = "shorten or split the rows"


class EstimatedTokens(Check):
    """Tokens are estimated, because no tokenizer is present.

    Why: cost and length are then a range.
    Fix: `pip install 'ftspec[tokens]'`.
    """

    code = "estimated-tokens"
    severity = INFO
    help = "count exactly with: pip install 'ftspec[tokens]'"


class WrongFormat(Check):
    """The dataset has another format than the method wants.

    Why: the engine refuses the file.
    Fix: use a dataset of that format, or another method.
    """

    code = "wrong-format"
    help = "use a dataset of that format, or another method; `ftspec data check` says what the rows look like"


class NoEval(Check):
    """No eval measures what an experiment makes.

    Why: losses do not say whether a model got better at its task, and nobody looks at a hundred models by hand.
    Told by `data check` only: planning without evals is fine while you try things.
    Fix: declare an eval with held-out rows, and add it to `evals:` of the experiment.
    """

    code = "no-eval"
    severity = WARNING
    help = "declare an eval on held-out rows, and add it to `evals:` of the experiment"
