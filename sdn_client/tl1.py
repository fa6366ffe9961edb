"""Codec of TL1, as `sdn_client/TL1.md` writes it: bytes in, blocks out; no sockets, no time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sdn_client.errors import MalformedAnswer

MAX_BLOCK_BYTES: Final = 1 << 18
MOST_PAIRS: Final = 65535

Pair = tuple[int, int]

_PLAIN = re.compile(r"(?:(?!/\*)[ !#-9<-~])*")  # nothing that ends a field or hides its end
_CTAG = re.compile(r"[A-Za-z0-9]{1,6}")
_VERB = re.compile(r"[A-Z][A-Z0-9-]{1,39}")
_ANSWER = re.compile(r"M  ?(\S{1,6}) (COMPLD|PRTL|DENY|DELAY|RTRV)")
_ACKNOWLEDGEMENT = re.compile(r"(IP|PF|OK|NA|NG|RL) (\S{1,6})")
_AUTONOMOUS = re.compile(r"(\*C|\*\*|\*|A) ")
_PATCH = re.compile(r'"(\d{1,5}),(\d{0,5})"')
_ALLOWED = frozenset(b"\t\r\n" + bytes(range(0x20, 0x7F)))


def _malformed(why: str) -> MalformedAnswer:
    return MalformedAnswer(
        f"Malformed TL1: {why}.", next_step="See whether this is the switch's TL1 port."
    )


@dataclass(frozen=True)
class Command:
    """One command; `rest` are the general block and the payload."""

    verb: str
    aid: str = ""
    ctag: str = "1"
    rest: tuple[str, ...] = ("",)

    def encode(self) -> bytes:
        """ValueError when a field cannot be written."""
        if not _VERB.fullmatch(self.verb) or not _CTAG.fullmatch(self.ctag):
            raise ValueError(f"{self.verb!r} with {self.ctag!r} is no TL1 command")
        fields = [self.verb, "", _field(self.aid), self.ctag, *map(_field, self.rest)]
        return ":".join(fields).encode("ascii") + b";"

    @classmethod
    def decode(cls, text: str) -> Command:
        """Read one command without its `;`. MalformedAnswer when it is none."""
        fields = _split(text.lstrip())
        if len(fields) < 4 or not _VERB.fullmatch(fields[0].upper()):
            raise _malformed("no command of the form VERB:TID:AID:CTAG:...")
        if not _CTAG.fullmatch(fields[3]):
            raise _malformed("a command without a correlation tag")
        rest = tuple(fields[4:]) or ("",)
        return cls(fields[0].upper(), fields[2], fields[3], rest)


@dataclass(frozen=True)
class Answer:
    """One block of an answer; `lines` are stripped and without comments."""

    ctag: str
    code: str
    lines: tuple[str, ...] = ()
    more: bool = False

    def encode(self, name: str, stamp: str) -> bytes:
        """The block as the device `name` sends it; `stamp` is `YY-MM-DD HH:MM:SS`."""
        head = f"\r\n\n   {name} {stamp}\r\nM  {self.ctag} {self.code}\r\n"
        body = "".join(f"   {line}\r\n" for line in self.lines)
        return (head + body + (">" if self.more else ";") + "\r\n").encode("ascii", "replace")


@dataclass(frozen=True)
class Acknowledgement:
    """The device heard a command; nothing is said of its outcome."""

    ctag: str
    code: str


@dataclass(frozen=True)
class Autonomous:
    """Something that the device tells unasked."""

    lines: tuple[str, ...]


Block = Answer | Acknowledgement | Autonomous


class _Cutter:
    """Cuts a stream where a block ends; quotes and comments hide the terminators."""

    def __init__(self, terminators: str) -> None:
        self._terminators = terminators
        self._text: list[str] = []
        self._hidden_by = ""  # '"', or '*' inside a comment
        self._escaped = False

    def feed(self, data: bytes) -> Iterable[tuple[str, str]]:
        """Yield each block that `data` completes, and its terminator."""
        if not _ALLOWED.issuperset(data):
            raise _malformed("bytes that are no text")
        for char in data.decode("ascii"):
            self._text.append(char)
            if len(self._text) > MAX_BLOCK_BYTES:
                raise _malformed(f"a block of more than {MAX_BLOCK_BYTES} bytes")
            if self._ends(char):
                text = "".join(self._text[:-1])
                self._text.clear()
                yield text, char

    def _ends(self, char: str) -> bool:
        before = self._text[-2] if len(self._text) > 1 else ""
        if self._escaped:
            self._escaped = False
        elif self._hidden_by == '"':
            self._escaped = char == "\\"
            self._hidden_by = "" if char == '"' else '"'
        elif self._hidden_by == "*":
            self._hidden_by = "" if (before, char) == ("*", "/") else "*"
        elif char == '"' or (before, char) == ("/", "*"):
            self._hidden_by = char
        elif char == ";":
            return True
        elif char in self._terminators:
            return before in ("", "\n", "\r", " ") and self._line_is_empty()
        return False

    def _line_is_empty(self) -> bool:
        for char in reversed(self._text[-81:-1]):
            if char in "\r\n":
                return True
            if char != " ":
                return False
        return len(self._text) <= 80


class BlockReader:
    """Collects what a device sends. After a MalformedAnswer, close the connection."""

    def __init__(self) -> None:
        self._cutter = _Cutter("<>")

    def feed(self, data: bytes) -> Iterable[Block]:
        """Yield the blocks that `data` completes."""
        for text, terminator in self._cutter.feed(data):
            yield _block(text, more=terminator == ">")


class CommandReader:
    """Collects what a client sends. A malformed command is a MalformedAnswer, yielded, not
    raised: the stream goes on behind its `;`."""

    def __init__(self) -> None:
        self._cutter = _Cutter("")

    def feed(self, data: bytes) -> Iterable[Command | MalformedAnswer]:
        for text, _ in self._cutter.feed(data):
            try:
                yield Command.decode(text)
            except MalformedAnswer as error:
                yield error


def patch_table(blocks: Iterable[Answer]) -> frozenset[Pair]:
    """The joined pairs that an answer to RTRV-PATCH tells. MalformedAnswer for any doubt."""
    pairs: dict[int, Pair] = {}
    for line in (line for block in blocks for line in block.lines):
        match = _PATCH.fullmatch(line)
        if match is None:
            raise _malformed(f"{line[:40]!r} is no line of a patch table")
        a, b = int(match[1]), int(match[2] or 0)
        if a == 0 or a == b or max(a, b) > MOST_PAIRS:
            raise _malformed(f"{line!r} is no pair of ports")
        if b == 0:
            continue
        pair = min(a, b), max(a, b)
        if any(pairs.setdefault(port, pair) != pair for port in pair):
            raise _malformed(f"{line!r}: a port in two pairs")
    return frozenset(pairs.values())


def port_range(aid: str) -> list[int]:
    """The ports of an AID such as `1&&4&9`. MalformedAnswer when it is none."""
    ports: list[int] = []
    for part in re.split(r"(?<!&)&(?!&)", aid):
        span = re.fullmatch(r"(\d{1,5})(?:&&(\d{1,5}))?", part)
        if span is None:
            raise _malformed(f"{aid[:40]!r} names no ports")
        ports.extend(range(int(span[1]), int(span[2] or span[1]) + 1))
        if len(ports) > MOST_PAIRS:
            raise _malformed(f"{aid[:40]!r} names too many ports")
    return ports


def _block(text: str, *, more: bool) -> Block:
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if len(lines) == 1 and (heard := _ACKNOWLEDGEMENT.fullmatch(lines[0])):
        return Acknowledgement(heard[2], heard[1])
    # The first line may be the device's name and time, and is nobody's business.
    for at, line in enumerate(lines[:2]):
        if head := _ANSWER.fullmatch(line):
            return Answer(head[1], head[2], tuple(lines[at + 1 :]), more)
        if _AUTONOMOUS.match(line):
            return Autonomous(tuple(lines[at:]))
    raise _malformed("a block that is neither an answer nor a message")


def _field(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("a TL1 field holds printable ASCII alone")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _split(text: str) -> list[str]:
    """The fields between colons; quoted ones without their quotes."""
    fields: list[str] = []
    for match in re.finditer(r'(?:^|:)(?:"((?:[^"\\]|\\.)*)"(?=:|$)|([^:]*))', text):
        quoted, plain = match[1], match[2]
        fields.append(plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return fields
