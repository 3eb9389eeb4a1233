"""Rules about files and lines, before a row has a meaning. Reported by `rows` and `scan`."""

from __future__ import annotations

from ftspec.data.checks.base import INFO, WARNING, Check


class FileMissing(Check):
    """There is no such file.

    Why: `path:` of a dataset is relative to the project's root.
    Fix: correct the path, or add the file.
    """

    code = "file-missing"
    help = "correct `path:`; it is relative to the project's root"


class NotAFile(Check):
    """The path is a folder, a pipe or a device.

    Why: a dataset is one regular file; reading a pipe could wait for ever and cannot be repeated.
    Fix: name a JSONL file.
    """

    code = "not-a-file"
    help = "name one JSONL file"


class FileUnreadable(Check):
    """The system refuses to read the file.

    Why: without its rows there is nothing to plan.
    Fix: correct its permissions.
    """

    code = "file-unreadable"
    help = "correct the permissions of the file"


class OutsideProject(Check):
    """The path, or the link behind it, leads out of the project.

    Why: `plan` may run on specs of strangers, and must not read (and later upload) files of yours.
    Fix: copy the file into the project, or allow its folder yourself with `--data-root DIR`.
    """

    code = "outside-project"
    help = "copy it into the project, or allow its folder with `--data-root DIR`"


class EmptyFile(Check):
    """The file has no rows.

    Why: no engine trains on nothing.
    Fix: fill it, or remove the dataset from the spec.
    """

    code = "empty-file"
    help = "fill the file, or remove the dataset from the spec"


class EmptyPart(Check):
    """A part of the split has no rows.

    Why: parts are dealt by a hash, so a small file can leave a small share empty.
    Fix: add rows, enlarge the share, or change the split's `seed`.
    """

    code = "empty-part"
    help = "add rows, enlarge the share, or change the split's `seed`"


class ChangedWhileRead(Check):
    """The file changed while it was read.

    Why: its digest would describe no state that the file ever had.
    Fix: let the writer finish, then run the command again.
    """

    code = "changed-while-read"
    help = "let the writer finish, then run the command again"


class NotUtf8(Check):
    """Bytes are not UTF-8.

    Why: JSON is UTF-8; another encoding would be trained as garbage.
    Fix: convert the file: `iconv -f cp1252 -t utf-8 old.jsonl > new.jsonl`, or `-f utf-16`.
    """

    code = "not-utf8"
    help = "convert it: `iconv -f cp1252 -t utf-8 old.jsonl > new.jsonl`; `-f` says what it is, such as `utf-16`"


class BinaryFile(Check):
    """The file is not text.

    Why: datasets are JSON Lines; archives and tables have to be unpacked first.
    Fix: unpack or export it as JSONL.
    """

    code = "binary-file"
    help = "unpack it, or export it as JSONL"


class JsonArray(Check):
    """The file is one JSON array.

    Why: engines want one object a line.
    Fix: `jq -c '.[]' old.json > new.jsonl`.
    """

    code = "json-array"
    help = "write one object a line: `jq -c '.[]' old.json > new.jsonl`"


class JsonPretty(Check):
    """The objects of the file are spread over several lines.

    Why: engines want one object a line.
    Fix: `jq -c . old.json > new.jsonl`.
    """

    code = "json-pretty"
    help = "write one object a line: `jq -c . old.json > new.jsonl`"


class RowTooLong(Check):
    """A row is longer than 32 MiB.

    Why: no model has a context for it; it is a file in another format or with lost line ends.
    Fix: check the line ends.
    """

    code = "row-too-long"
    help = "check the line ends of the file"


class ByteOrderMark(Check):
    """The file starts with a byte order mark.

    Why: `ftspec` ignores it and uploads none, but other tools refuse the first row.
    Fix: `ftspec data check --fix`.
    """

    code = "byte-order-mark"
    severity = WARNING
    help = "remove it with `ftspec data check --fix`"


class Crlf(Check):
    """Lines end with CR LF.

    Why: `ftspec` ignores it and uploads LF; it usually means an editor rewrote the file.
    Fix: `ftspec data check --fix`.
    """

    code = "crlf"
    severity = WARNING
    help = "rewrite it with `ftspec data check --fix`"


class BlankLine(Check):
    """A line is blank.

    Why: `ftspec` skips it, but other tools refuse it, and it may mark a lost row.
    Fix: `ftspec data check --fix`.
    """

    code = "blank-line"
    severity = WARNING
    help = "remove it with `ftspec data check --fix`"


class BadJson(Check):
    """A line is not JSON.

    Why: the engine refuses the whole file for it, after the upload.
    Fix: correct the line; every row is one JSON object.
    """

    code = "bad-json"
    help = "correct the line: every row is one JSON object"


class TornRow(Check):
    """A row ends in the middle.

    Why: its writer was interrupted, so the rows after it are missing too.
    Fix: write the file again.
    """

    code = "torn-row"
    help = "write the file again: its writer was interrupted"


class NotAnObject(Check):
    """A row is an array, a string or a number.

    Why: every format wants objects.
    Fix: wrap it, for example `{"messages": [...]}`.
    """

    code = "not-an-object"
    help = 'wrap it in an object, for example `{"messages": [...]}`'


class DuplicateKey(Check):
    """An object has the same key twice.

    Why: readers disagree on which value counts, so the row has no one meaning.
    Fix: remove one of them.
    """

    code = "duplicate-key"
    help = "remove one of the two members"


class NotFinite(Check):
    """A number is `NaN`, infinite, or has thousands of digits.

    Why: JSON has no form for it, and engines refuse the file.
    Fix: write `null`, or leave the member out.
    """

    code = "not-finite"
    help = "write `null`, or leave the member out"


class LoneSurrogate(Check):
    """A string holds half of a surrogate pair.

    Why: it is no character and has no UTF-8; it comes from a text that was cut inside an emoji.
    Fix: remove it, and cut texts by code points.
    """

    code = "lone-surrogate"
    help = "remove it, and cut texts by code points rather than UTF-16 units"


class TooDeep(Check):
    """A row is nested hundreds of levels deep.

    Why: no format needs it, and parsers run out of stack.
    Fix: remove the nesting.
    """

    code = "too-deep"
    help = "remove the nesting"


class UnknownFormat(Check):
    """The rows look like none of the formats.

    Why: without `messages`, `input` and outputs, or `prompt` and `completion`, nothing can be trained.
    Fix: say what they are with `format:`; `format: eval` takes any object.
    """

    code = "unknown-format"
    severity = INFO
    help = "declare it with `format:` (`chat`, `preference`, `reinforcement`, `completion` or `eval`)"


class ForeignFormat(Check):
    """The rows have the form of another tool's datasets.

    Why: engines of the OpenAI protocol refuse it. Told are Alpaca's, Dolly's, ShareGPT's and Gemini's rows, and
    those with `chosen` and `rejected`.
    Fix: turn them into chat or preference rows with the command that the message shows.
    """

    code = "foreign-format"
    severity = WARNING
    help = "turn them into rows of a format that can be trained, or declare `format: eval`"


class GroupMissing(Check):
    """A row has no field to group the split by.

    Why: it is dealt by itself then, so rows of one group can end on both sides of the split.
    Fix: add the field, or correct `group_by`.
    """

    code = "group-missing"
    severity = WARNING
    help = "add the field to every row, or correct `group_by:`"
