"""Every diagnostic that reading a spec can give, and its page for the docs.

The codes of rules are documented by their modules (`rules/`); those here belong to the steps
before: text, structure, names, expansion. A test holds this table and the code together.
"""

from __future__ import annotations

from typing import Final

from ftspec.spec.rules import rules

_PAGES: Final = {
    # Text
    "yaml-syntax": "The file is not YAML.\n\nFix: the message says what the parser stumbled over, and where; most often indentation, a missing space after `:`, or quotes.",
    "yaml-too-large": "A spec file is larger than 1 MiB, or all files together than 16 MiB.\n\nFix: generate cells with `matrix`, or split the file with `include`.",
    "yaml-too-deep": "Values are nested more than 64 levels deep.\n\nFix: write it flatter.",
    "yaml-too-many-nodes": "The file means more than 200,000 values once aliases are written out.\n\nWhy: a few lines of aliases can stand for billions of values.\n\nFix: generate cells with `matrix`, or split the file.",
    "yaml-recursive-alias": "An alias stands inside the value that it names.\n\nFix: move the anchor to the value that is meant.",
    "yaml-tag": "A value has a YAML tag, such as `!!python/object`.\n\nWhy: types follow from how values are written; nothing in a spec is executed.\n\nFix: remove the tag.",
    "duplicate-key": "A mapping gives one key twice.\n\nWhy: most YAML readers silently take the last one.\n\nFix: remove one of them; both places are shown.",
    "key-not-text": "A key is a number, `true`, `null` or a collection.\n\nFix: write it in quotes.",
    "merge-key": "`<<` is followed by something else than one mapping.\n\nFix: write `<<: *name`, where `&name` names a mapping.",
    "bad-number": "A number is infinite, not a number, or has more than 300 digits.\n\nFix: write a finite number, or put text in quotes.",
    "not-utf8": "The file is not UTF-8.\n\nFix: save it as UTF-8. A byte order mark is fine.",
    "control-character": "The file holds a NUL or another character that is not text.\n\nFix: remove it.",
    "several-documents": "The file holds more than one YAML document.\n\nFix: remove `---`, or use one file for each and `include` them.",
    "empty-spec": "The file is empty, or not a mapping.\n\nFix: `ftspec init` writes a spec to start from.",
    # Files
    "file-missing": "A spec file does not exist.\n\nFix: correct the name, or make one with `ftspec init`.",
    "file-unreadable": "A spec file cannot be read, or is not a regular file.\n\nFix: the message says why.",
    "path-outside": "A path leads out of the project: as written, by a symbolic link, or because it is absolute.\n\nWhy: a spec may come from somebody else; it must not read or write what is not its own.\n\nFix: move the file into the project. For datasets, `--data-root DIR` allows another folder.",
    "too-many-files": "More than 256 files are included.\n\nFix: include fewer.",
    "include-cycle": "Files include each other.\n\nFix: remove one of the `include` lines that the message names.",
    "spec-version": "The file does not say `ftspec: 1`, or asks for a version that this ftspec does not read.\n\nFix: add the line at the top, or install a newer ftspec.",
    # Structure
    "unknown-key": "A key is not a setting here.\n\nWhy: a misspelled setting would silently keep its default, and the job would be bought anyway.\n\nFix: the nearest known name is suggested.",
    "missing-key": "A block lacks something that it needs.\n\nFix: add it.",
    "wrong-value": "A value is not what the setting accepts.\n\nFix: the message says what it must be.",
    "bad-name": "A name has characters that names cannot have.\n\nFix: use letters, digits, `_`, `-` and `.`, at most 64, starting with a letter or `_`.",
    "not-a-spec": "Thousands of things are wrong with a file: it is probably no spec.\n\nFix: `ftspec init` writes a spec to start from.",
    "more-problems": "More problems were found than are shown.\n\nFix: correct the first ones.",
    # Names
    "duplicate-name": "Two files declare the same name.\n\nFix: rename or remove one of them; both places are shown.",
    "given-twice": "One block gives a setting in two forms (`epochs` and `method.hyperparameters.n_epochs`), or two settings that exclude each other.\n\nFix: keep one of them.",
    "unknown-variable": "`--var` names a variable that the spec does not declare.\n\nFix: correct the name, or declare it under `vars`.",
    "unknown-reference": "`{name}` refers to nothing: no axis, setting or variable has this name or a value.\n\nFix: correct the name. For braces as text write `{{` and `}}`.",
    "bad-reference": "Text has a stray brace, or refers to a list or mapping in the middle of other text.\n\nFix: write `{name}` to refer to a value, `{{` and `}}` for braces.",
    "reference-cycle": "Variables or settings refer to each other in a circle.\n\nFix: give one of them a value of its own.",
    "too-much-text": "References, or the cells of a grid, stand for more text than anybody can mean.\n\nFix: shorten axis values and references.",
    "unknown-engine": "An experiment or the policy names an engine that is not declared.\n\nFix: correct the name, or declare it under `engines`.",
    "unknown-engine-type": "An engine has a `type` that ftspec does not know.\n\nFix: correct it; `openai-compatible` with `base_url` reaches any server of the protocol.",
    "bad-base-url": "`base_url` is not the address of an engine.\n\nWhy: a user name in a URL can hide its real host.\n\nFix: write `https://HOST[:PORT][/PATH]`, without user, query or fragment.",
    "shared-scope": "Two engine entries mean one account but use different keys or addresses.\n\nWhy: files and models are reused within an account; with different keys it may be two.\n\nFix: add `project:` or `scope:` to one of them.",
    "unknown-dataset": "A job or eval names a dataset, or a part of one, that does not exist.\n\nFix: correct the name.",
    "ambiguous-dataset": "A dataset is called like a part of another one.\n\nFix: rename one of them.",
    "bad-split": "The shares of a split do not add up to 1.\n\nFix: change the shares.",
    "unknown-eval": "An experiment asks for an eval that is not declared.\n\nFix: correct the name.",
    "unknown-experiment": "`from` or `depends_on` names an experiment that does not exist.\n\nFix: correct the name.",
    # Expansion
    "missing-setting": "An experiment has no engine, base model or training data.\n\nFix: set it there or in `defaults`.",
    "wrong-hyperparameter": "A job gives a hyperparameter, or a grader, that its method does not have.\n\nFix: remove it, or change `method`.",
    "unknown-axis": "An axis is neither a setting nor used as `{axis}`, or a condition names an axis that does not exist.\n\nFix: correct the name.",
    "duplicate-axis-value": "An axis lists one value twice.\n\nFix: remove one. To train the same thing again on purpose, add an axis `replicate`.",
    "missing-axis": "A row of `include` leaves out an axis that has no value otherwise.\n\nFix: add it to the row.",
    "override-of-axis": "An override sets a value that is an axis.\n\nWhy: the value is part of the address, which would then lie.\n\nFix: use `exclude` and `include`.",
    "matches-nothing": "An `exclude` or an override matches no cell.\n\nFix: remove it, or correct its values.",
    "too-many-cells": "A grid has more than 100,000 cells.\n\nFix: leave out values, or use `zip`.",
    "axis-value-too-long": "An axis value is too long for an address.\n\nFix: give the jobs a short `name:`.",
    "duplicate-address": "Two jobs have the same address.\n\nFix: add what tells them apart to `name`, or an axis such as `replicate`.",
    "no-parent": "`base_model: {from: ...}` matches no job.\n\nFix: correct the values in `where`; the axes are named.",
    "other-scope": "A chained job would train in another account than the one that holds its parent's model.\n\nFix: train it on the parent's engine.",
    "dependency-cycle": "Experiments depend on each other in a circle.\n\nFix: remove one of the `from` or `depends_on`.",
}


def pages() -> dict[str, str]:
    """Return the documentation of every code that reading a spec can give: what, why, how to put it right."""
    return {**_PAGES, **{code: (rule.__doc__ or "").strip() for code, rule in rules().items()}}
