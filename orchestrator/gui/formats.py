"""Numbers, durations and times as people read them; filters of the templates."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

from markupsafe import Markup

_WHOLE_CHARS = 44
"""Ids are shown whole, digests are not."""
_SHORTENED_CHARS = 24
_UNITS = ("B", "kB", "MB", "GB", "TB")
NOTHING = "–"


def bytes_text(value: float | None) -> str:
    """Decimal units, three digits: `1.25 MB`."""
    if value is None:
        return NOTHING
    power = 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value /= 1000
        power += 1
    digits = 0 if power == 0 else 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[power]}"


def rate_text(bytes_per_s: float | None) -> str:
    return NOTHING if bytes_per_s is None else f"{bytes_text(bytes_per_s)}/s"


def bps_text(value: float | None) -> str:
    """Bits a second: `1.2 kbit/s`."""
    if value is None:
        return NOTHING
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} bit/s"


def duration_text(seconds: float | None) -> str:
    """The two largest units: `3 min 20 s`, `2 h 5 min`, `0.4 s`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0:
        return f"-{duration_text(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left_s = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left_s, "s")]
    first = next(at for at, (amount, _) in enumerate(parts) if amount or at == 3)
    said = [f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount]
    return " ".join(said)


def count_text(value: int) -> str:
    """Thousands apart: `12 345`, with a narrow space."""
    return f"{value:,}".replace(",", "\u202f")


def percent_text(share: float | None, digits: int = 1) -> str:
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def words_text(name: str) -> str:
    """`WAITING_FOR_KEY` as `waiting for key`."""
    return name.replace("_", " ").lower()


def fact_text(value: object, name: str) -> str:
    """A number by the unit in its name, such as `image_bytes`; anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        units = {"_bytes_per_s": rate_text, "_bytes": bytes_text, "_s": duration_text}
        for ending, say in units.items():
            if f"_{name}".endswith(ending):
                return say(value)
        return f"{value:g}" if isinstance(value, float) else count_text(value)
    if isinstance(value, dict):
        return " ".join(f"{words_text(key)} {part}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(fact_text(part, name)) for part in value)
    text = str(value)
    if len(text) <= _WHOLE_CHARS or " " in text:
        return text
    return Markup('<span title="{}">{}…</span>').format(text, text[:_SHORTENED_CHARS])


def exact_text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def ago(at: datetime | None, now: datetime) -> str:
    """A time, relative; the exact one is shown on hover, and a script keeps it up to date."""
    if at is None:
        return NOTHING
    return Markup('<time datetime="{}" title="{}" data-relative>{}</time>').format(
        at.isoformat(), exact_text(at), relative_text((at - now).total_seconds())
    )


def relative_text(seconds: float) -> str:
    """From now: `3 min ago`, `in 2 h`; the browser's script says it with the same words."""
    size = abs(seconds)
    if size < 1.5:
        return "now"
    for length_s, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if size >= length_s:
            amount = f"{int(size // length_s)} {unit}"
            break
    return f"{amount} ago" if seconds < 0 else f"in {amount}"


def short_id(value: UUID | str) -> Markup:
    """The first characters of an id; the whole one on hover."""
    text = str(value)
    return Markup('<code class="id" title="{}">{}</code>').format(text, text[:8])


FILTERS = {
    "bytes": bytes_text,
    "rate": rate_text,
    "bps": bps_text,
    "duration": duration_text,
    "count": count_text,
    "percent": percent_text,
    "exact": exact_text,
    "words": words_text,
    "fact": fact_text,
    "short_id": short_id,
}
