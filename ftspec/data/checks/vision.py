"""Rules about images and other content parts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import INFO, MESSAGES, WARNING, Check, RowCheck
from ftspec.data.checks.chat import message_lists
from ftspec.data.messages import messages_of, role_of
from ftspec.printable import printable

PARTS = {"text", "image_url", "refusal", "input_audio", "file"}
_DATA = "data:"
_LINKS = ("https://", "http://")
_DETAILS = {"auto", "low", "high"}
_KINDS = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n", "image/webp": b"RIFF"}
_PNG_COLOURS = {2, 3, 6}
"""RGB, palette (of RGB) and RGBA; 0 and 4 are greyscale."""


class _PartRule(RowCheck):
    """A rule about content parts."""

    formats = MESSAGES
    screen = (b'"content":[',)

    def parts(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the role and the part for every part of the row."""
        for given in message_lists(row, self.setting.format):
            for message in messages_of(given):
                content = message.get("content")
                for part in content if isinstance(content, list) else []:
                    yield role_of(message) or "?", part

    def images(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Yield the URL of every image."""
        for _, part in self.parts(row):
            if (url := image_url(part)) is not None:
                yield url


def image_url(part: Any) -> str | None:
    """Return the URL of an image part, `None` for anything else."""
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return None
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else None


class UnknownPart(_PartRule):
    """A content part has an unknown type or shape.

    Why: engines refuse it.
    Fix: `{"type": "text", "text": "..."}` or `{"type": "image_url", "image_url": {"url": "..."}}`.
    """

    code = "unknown-part"
    help = 'use `{"type": "text", "text": "..."}` or `{"type": "image_url", "image_url": {"url": "..."}}`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the type of every part, and at what goes with it."""
        for _, part in self.parts(row):
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(kind, str):
                yield "a content part has no `type`"
            elif kind not in PARTS:
                yield f"the content part type `{printable(kind[:40])}` is unknown"
            elif kind == "text" and not isinstance(part.get("text"), str):
                yield "a text part has no `text`"
            elif kind == "image_url" and image_url(part) is None:
                yield "an image part has no `image_url.url`"
            elif (
                kind == "image_url" and isinstance(part["image_url"], dict) and str(part["image_url"].get("detail", "auto")) not in _DETAILS
            ):
                yield "the `detail` of an image is not `auto`, `low` or `high`"


class ImageRole(_PartRule):
    """An image is not in a user's message.

    Why: models take images from users only; none can write one.
    Fix: move it into the user's message.
    """

    code = "image-role"
    help = "move the image into a user's message"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the role around every image."""
        for role, part in self.parts(row):
            if image_url(part) is not None and role != "user":
                yield f"an image is in a message by `{printable(role[:40])}`"


class TooManyImages(_PartRule):
    """A row has more images than the engine takes.

    Why: the engine refuses or skips the row.
    Fix: split the row, or leave images out.
    """

    code = "too-many-images"
    help = "split the row, or leave images out"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Count the images."""
        if sum(1 for _ in self.images(row)) > self.setting.max_images:
            yield f"the row has more than {self.setting.max_images} images"


class BadImage(_PartRule):
    """An image is not a JPEG, PNG or WEBP in RGB, is too large, or is none (such as the path of a file).

    Why: engines skip such rows, often without a word.
    Fix: convert it to a smaller RGB image, and embed that as a `data:` URL.
    """

    code = "bad-image"
    help = "embed an RGB image in JPEG, PNG or WEBP, below the engine's size limit, as a `data:` URL"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the first bytes of every embedded image."""
        for url in self.images(row):
            if url.startswith(_DATA):
                yield from self._embedded(url)
            elif not url.lower().startswith(_LINKS):
                yield "an image is neither embedded nor a link: no engine reads files of this machine"

    def _embedded(self, url: str) -> Iterator[str]:
        head, _, body = url.partition(",")
        kind = head.removeprefix(_DATA).partition(";")[0].lower()
        if kind == "image/jpg":
            kind = "image/jpeg"
        if kind not in _KINDS:
            yield "an embedded image is not JPEG, PNG or WEBP"
            return
        if len(body) * 3 // 4 > self.setting.max_image_bytes:
            yield f"an embedded image is larger than {self.setting.max_image_bytes >> 20} MiB"
        try:
            start = base64.b64decode(body[: 1 << 16], validate=True) if ";base64" in head else b""
        except (binascii.Error, ValueError):
            start = b""
        if not start.startswith(_KINDS[kind]):
            yield "an embedded image is not what its type says, or not base64"
        elif _is_other_colour(kind, start):
            yield "an embedded image is not RGB or RGBA"


class ImageUrl(_PartRule):
    """An image is a link.

    Why: it may be gone, or another picture, when the engine fetches it; its content is not part
    of the dataset's digest.
    Fix: embed it as a `data:` URL.
    """

    code = "image-url"
    severity = WARNING
    help = "embed it as a `data:` URL, so that it cannot change"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for links."""
        for url in self.images(row):
            if url.lower().startswith(_LINKS):
                yield "an image is a link, which can break or change"


class ImagesSkipped(Check):
    """The dataset has images.

    Why: OpenAI and Azure skip rows with people, faces, children or CAPTCHAs without a word.
    Fix: compare the trained tokens after the job.
    """

    code = "images-skipped"
    severity = INFO
    help = "compare the trained tokens after the job with the estimate"


class TooManyImageRows(Check):
    """More rows have images than the engine takes.

    Why: OpenAI takes 50,000 rows with images in one file.
    Fix: sample the dataset.
    """

    code = "too-many-image-rows"
    help = "use fewer rows: `{type: sample, n: 50000}` under `transforms:`"


def _is_other_colour(kind: str, data: bytes) -> bool:
    if kind == "image/png":
        return len(data) > 25 and data[25] not in _PNG_COLOURS
    return kind == "image/jpeg" and _jpeg_components(data) not in {None, 3}


def _jpeg_components(data: bytes) -> int | None:
    """Return how many colour components a JPEG has, `None` where the frame header is further down."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return data[position + 9]
        position += 2 + length
    return None
