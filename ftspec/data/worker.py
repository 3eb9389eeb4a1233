"""A process that reads ranges of a dataset file for another one (see `sharing`)."""

from __future__ import annotations

import sys
from typing import BinaryIO

import msgspec

from ftspec.data.rows import BadFile, RowFile
from ftspec.data.scan import Scanner
from ftspec.data.sharing import Answer, Job
from ftspec.data.tally import Report, Tally


def main(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Read a job, write an answer for each of its ranges."""
    job = msgspec.msgpack.decode(stdin.read(), type=Job)
    encode = msgspec.msgpack.Encoder().encode
    file = RowFile(job.order.path, job.descriptor)
    for start, end in job.ranges:
        try:
            answer = Answer(report=read_range(file, job, start, end))
        except BadFile as problem:
            answer = Answer(code=problem.code, message=problem.message)
        data = encode(answer)
        stdout.write(len(data).to_bytes(8, "big"))
        stdout.write(data)
        stdout.flush()


def read_range(file: RowFile, job: Job, start: int, end: int) -> Report:
    """Return what the rows that start in a range gave."""
    scanner, tally = Scanner(job.order, first_block=start == 0), Tally(job.order)
    for block in file.blocks(start, end):
        tally.add(scanner.rows(block))
    report = tally.report()
    report.lines = scanner.line
    report.findings = scanner.findings.all()
    return report


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
