"""Text files as decoded lines: unpacked, in their declared encoding, or in one that is guessed and reported."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from meta_text.corpus.table_row import BadRow, Row
from meta_text.errors import CorpusError

Note = Callable[[str], None]  # takes one line that says what was guessed or skipped

# longest first: the mark of UTF-32 starts with that of UTF-16
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHER_KINDS = (
    (b"PK\x03\x04", "a spreadsheet or another zip archive; name it .xlsx if it is a spreadsheet, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save it as .xlsx or .csv"),
    (b"\x1f\x8b", "packed with gzip; add .gz to its name"),
    (b"PAR1", "a Parquet file; name it .parquet"),
)
# charset-normalizer chooses among these, which spreadsheets and databases still write
LEGACY = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "mac_roman", "cp850"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
LONGEST_LINE = 1 << 27  # bytes; a packed file of a few kilobytes can hold a line that fills the memory
SAMPLE_BYTES = 32_768  # of lines that are not plain ASCII, for the guess
STRAY_BYTE = re.compile("[\udc80-\udcff]")  # an undecodable byte, as `surrogateescape` keeps it
SIGN_IN_A_WORD = re.compile(r"[^\W\d_][\u00a2-\u00bf][^\W\d_]|[^\W\d_m][\u00b2\u00b3\u00b9]")  # but m² is not a word


@dataclass(frozen=True)
class TextFile:
    """A text file and how to decode it. `fits` is the likely encoding of bytes that are not UTF-8."""

    path: Path
    encoding: str
    newline: str = "\n"  # "\r" in files of old Macs
    fits: str | None = None

    @classmethod
    def open(cls, path: Path, encoding: str | None = None, note: Note | None = None) -> "TextFile":
        """Read through the file once to find its encoding.

        A byte order mark and plain UTF-8 need no guess. Any other encoding is guessed only if `note` is given to
        report it: otherwise the file is read as UTF-8, and invalid bytes are errors of their rows.
        Raises CorpusError for an unknown encoding, for a file of another format, and for a line of more than 128 MiB.
        """
        with unpacked(path) as file:
            seen = _look_through(file, path)
        for magic, kind in OTHER_KINDS:
            if seen.head.startswith(magic):
                raise CorpusError(f"{path} is not text but {kind}")
        newline = "\r" if seen.carriage_returns and not seen.line_feeds else "\n"
        if encoding is not None:
            return cls(path, _checked(encoding), newline)
        marked = next((name for mark, name in MARKS if seen.head.startswith(mark)), None)
        if marked is not None:
            return cls(path, marked, newline)
        if wide := _utf16_without_mark(seen.head):
            if note is None:
                raise CorpusError(f"{path} seems to be {wide} without a byte order mark; pass encoding='{wide}'")
            note(f"{path.name}: read as {wide} (a guess by its zero bytes); --encoding, or encoding=, overrides it")
            return cls(path, wide, newline)
        # a few stray bytes among more UTF-8 are broken rows, not another encoding
        fits = _legacy(seen.sample) if seen.stray > seen.multibyte else None
        if fits is None or note is None:
            return cls(path, "utf-8", newline, fits)
        note(f"{path.name}: read as {fits} (a guess: it is not UTF-8); --encoding, or encoding=, overrides it")
        return cls(path, fits, newline)

    def lines(self) -> Iterator[str]:
        """The lines with their line ends. Raises CorpusError for a truncated gzip file."""
        with unpacked(self.path) as raw:
            # a stray byte becomes a lone surrogate, so that only its own row is lost
            text = io.TextIOWrapper(cast("IO[bytes]", raw), self.encoding, "surrogateescape", self.newline)
            try:
                yield from text
            except UnicodeError as error:
                reason = getattr(error, "reason", str(error))  # UTF-16 without its mark has no such attribute
                raise CorpusError(
                    f"{self.path} is not {self.encoding} ({reason}); name its encoding (encoding=, --encoding)"
                ) from None

    def stray_byte(self, *cells: str | None) -> str | None:
        """A message about the first byte that is not in the encoding, or None."""
        stray = next((match for cell in cells if cell and (match := STRAY_BYTE.search(cell))), None)
        if stray is None:
            return None
        byte = f"byte 0x{ord(stray[0]) - 0xDC00:02x} is not {self.encoding.upper().removesuffix('-SIG')}"
        if self.fits is None:
            return f"{byte}; name the file's encoding (encoding=, --encoding), or save it as UTF-8"
        return (
            f"{byte}; the file seems to be {self.fits}: pass encoding='{self.fits}' (--encoding {self.fits}), "
            f"or save the file as UTF-8 (iconv -f {self.fits} -t utf-8)"
        )


def line_rows(file: TextFile, column: str) -> Iterator[Row | BadRow]:
    """Each line as a row of one column."""
    for number, line in enumerate(file.lines(), start=1):
        text = line.rstrip("\r\n")
        problem = file.stray_byte(text)
        yield {column: text} if problem is None else BadRow(number, problem)


@dataclass
class _Seen:
    """What reading through a whole file finds."""

    head: bytes = b""
    sample: bytes = b""  # lines that are not ASCII
    line_feeds: bool = False
    carriage_returns: bool = False
    multibyte: int = 0  # characters beyond ASCII that are UTF-8
    stray: int = 0  # bytes that are not


def _look_through(file: io.BufferedIOBase, path: Path) -> _Seen:
    seen = _Seen()
    while True:
        try:
            chunk = file.read(1 << 20)
            rest = file.readline(LONGEST_LINE)  # chunks end at line ends, so no character is cut in two
        except CorpusError:  # a truncated file is reported when its lines are read
            return seen
        if len(rest) == LONGEST_LINE:
            raise CorpusError(
                f"{path} has a line of more than {LONGEST_LINE >> 20} MiB, too long for one text; "
                "put each text on a line of its own (JSON: .jsonl, one object per line)"
            )
        chunk += rest
        if not chunk:
            return seen
        seen.head = seen.head or chunk[:4096]
        seen.line_feeds = seen.line_feeds or b"\n" in chunk
        seen.carriage_returns = seen.carriage_returns or b"\r" in chunk
        if chunk.isascii():
            continue
        text = chunk.decode("utf-8", "surrogateescape")
        beyond = sum(1 for c in text if c > "\x7f")
        stray = len(STRAY_BYTE.findall(text))
        seen.stray, seen.multibyte = seen.stray + stray, seen.multibyte + beyond - stray
        if stray and len(seen.sample) < SAMPLE_BYTES:
            odd = b"\n".join(line for line in chunk.splitlines() if not line.isascii())
            seen.sample = (seen.sample + odd)[:SAMPLE_BYTES]


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 recognised by its zero bytes, one per Latin letter."""
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) * 8 <= len(head) or min(odd, even) * 4 > max(odd, even):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _legacy(sample: bytes) -> str | None:
    """The likely encoding of lines that are not UTF-8; Western Windows (cp1252) if it fits about as well."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample, cp_isolation=list(LEGACY)))
    ranked = sorted(matches, key=lambda match: 2 * match.chaos - match.coherence)
    best = 2 * ranked[0].chaos - ranked[0].coherence if ranked else 0.0
    western = [match for match in ranked if "cp1252" in (match.encoding, *match.could_be_from_charset)]
    if western and 2 * western[0].chaos - western[0].coherence - best < 0.04 and _reads_as_western(sample):
        return "cp1252"
    ranked = [match for match in ranked if match.encoding != "cp1252"] or ranked
    return ranked[0].encoding if ranked else None


def _reads_as_western(sample: bytes) -> bool:
    """Whether no word contains a sign such as a superscript three, where other code pages have letters."""
    return SIGN_IN_A_WORD.search(sample.decode("cp1252", "replace")) is None


def _checked(encoding: str) -> str:
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding:
        raise CorpusError(f"unknown encoding '{encoding}'; use one that Python knows, such as utf-8, utf-16 or cp1252")
    return "utf-8-sig" if codec.name == "utf-8" else codec.name


class _Unpacked(io.BufferedIOBase):
    """A gzip file that raises CorpusError if it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, gzip.open(path, "rb")  # noqa: SIM115  # closed by close()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.file.close()
        super().close()

    def read(self, size: int | None = -1) -> bytes:
        return self._told(lambda: self.file.read(-1 if size is None else size))

    def read1(self, size: int = -1) -> bytes:
        return self._told(lambda: self.file.read1(size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._told(lambda: self.file.readline(-1 if size is None else size))

    def _told(self, read: Callable[[], Any]) -> bytes:
        try:
            return bytes(read())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CorpusError(
                f"{self.path} is not a gzip file, or is truncated ({error}); copy or compress it again"
            ) from None


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file, unpacked if its name ends in .gz. Raises CorpusError for a truncated gzip file."""
    with _Unpacked(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        yield file
