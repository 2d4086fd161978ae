"""Bytes of a file as text: compressed or not, in the encoding that its first bytes name."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from pathlib import Path

from probes.core.errors import UserError

COMPRESSED = (".gz", ".xz", ".bz2")
"""File endings of what is decompressed; the ending before it tells the format."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH = re.compile(rb"[\x80-\xff]+")


def decompressed(path: Path, content: bytes) -> bytes:
    """The content of a gzip, xz or bzip2 file; any other content as it is."""
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith(b"\xfd7zXZ\x00"):
            return lzma.decompress(content)
        if content.startswith(b"BZh") and content[4:10] == b"1AY&SY":
            return bz2.decompress(content)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise UserError(f"{path}: damaged or incomplete compressed file: {error}") from error
    if content.startswith(b"PK\x03\x04"):
        raise UserError(
            f"{path} is a zip archive (or an Excel workbook)",
            allowed="text files, also compressed by gzip, xz or bzip2",
            fix="unpacking it, or saving the sheet as CSV UTF-8",
        )
    return content


def decoded(path: Path, content: bytes, encoding: str) -> str:
    """The text of a file. A byte order mark counts more than ``encoding``.

    Raises:
        UserError: the bytes are not in that encoding, with one that they are in, or no such one.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise UserError(
            f"corpus.encoding={encoding}: no such encoding", fix="corpus.encoding=utf-8"
        ) from error
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        text = content.decode(marked or encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        paired = None if marked else _surrogate_pairs(content, encoding)
        if paired is not None:
            return paired
        line = content.count(b"\n", 0, error.start) + 1
        fitting = "" if marked else fitting_encoding(content)
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not {marked or encoding}",
            allowed="" if fitting else _unknown(content),
            fix=f"corpus.encoding={fitting}" if fitting else "",
        ) from error
    if text.count("\0") > len(text) // 4:
        fitting = fitting_encoding(content)
        raise UserError(
            f"{path}: every other byte is 0, which is no text in {encoding}",
            fix=f"corpus.encoding={fitting}" if fitting else "",
        )
    return text


def _surrogate_pairs(content: bytes, encoding: str) -> str | None:
    """UTF-8 of halves of characters (CESU-8, as some databases write emoji), with halves joined."""
    try:
        halves = content.decode(encoding, "surrogatepass")
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    except UnicodeError:
        return None


def hidden_controls(text: str) -> int:
    """How many characters are the control characters that cp1252 read as Latin-1 turns into."""
    return sum("\x80" <= char <= "\x9f" for char in text)


def fitting_encoding(content: bytes) -> str:
    """The encoding that the bytes are in, as far as they tell; empty: they do not.

    >>> fitting_encoding("“naïve”".encode("cp1252")), fitting_encoding("naïve".encode("latin-1"))
    ('cp1252', 'latin-1')
    """
    for name in _candidates(content):
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return ""


def _candidates(content: bytes) -> tuple[str, ...]:
    zeros = content[:4096].count(0)
    if (
        zeros > len(content[:4096]) // 4 and not len(content) % 2
    ):  # every other byte of Latin letters in UTF-16
        even = content[:4096:2].count(0)
        return ("utf-16-be",) if even > zeros // 2 else ("utf-16-le",)
    if _is_damaged_utf8(content):
        return ()
    runs = [len(run) for run in _HIGH.findall(content)]
    if sum(length for length in runs if length > 2) > sum(runs) // 2:
        return ("utf-8",)  # long runs are other scripts: several encodings would decode them
    controls = re.search(rb"[\x80-\x9f]", content)
    return ("utf-8", "cp1252" if controls else "latin-1")


def _is_damaged_utf8(content: bytes) -> bool:
    """Whether most characters beyond ASCII are UTF-8: then single bytes are damaged."""
    text = content.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return bad > 0 and sum(char > "\x7f" for char in text) - bad > bad


def _unknown(content: bytes) -> str:
    if _is_damaged_utf8(content):
        bad = content.decode("utf-8", "replace").count("\ufffd")
        return f"UTF-8, which the file is except at {bad} place(s): mend or remove them"
    return (
        "the encoding that the file was written in (gb18030, big5, shift_jis, euc_kr, cp1251, ...)"
    )
