"""What is asked of the decoder, beside what `benchmarks.decoding` measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.decoding import Row


@dataclass(frozen=True)
class Bar:
    """Something that is asked for, and what was measured of it."""

    name: str
    measured: float
    is_reached: bool

    def __str__(self) -> str:
        return f"{self.measured:9.3f}  {self.name}{'' if self.is_reached else '  MISSED'}"


def check_bars(widest: list[Row], rows: list[Row], shares: dict[int, float]) -> list[Bar]:
    """Compare with what is asked for, as far as it was measured.

    Args:
        widest: rows of greedy and of the widest beam.
        rows: all.
        shares: speed with so many hotwords, over that without any.
    """
    plain = {row.decoder: row for row in widest if not row.n_hotwords}
    bars = []
    if ours := plain.get("beam"):
        speed = ours.audio_s_per_core_s
        bars.append(Bar("s of audio a core-second, at least 250", speed, speed >= 250))
        if theirs := plain.get("pyctcdecode"):
            times = speed / theirs.audio_s_per_core_s
            bars.append(Bar("times the speed of pyctcdecode, at least 5", times, times >= 5))
            best = min(row.wer for row in rows if row.decoder == "pyctcdecode" and not row.n_hotwords)
            bars.append(Bar("WER less that of pyctcdecode's best, at most 0", ours.wer - best, ours.wer <= best))
        if greedy := plain.get("greedy"):
            rises = {name: rate - greedy.wer_by_domain[name] for name, rate in ours.wer_by_domain.items()}
            name = max(rises, key=lambda name: rises[name])
            bars.append(Bar(f"largest rise of WER ({name}), at most 0.01", rises[name], rises[name] <= 0.01))
            if before := greedy.wer_by_domain.get("audiobook"):
                fall = 1 - ours.wer_by_domain["audiobook"] / before
                bars.append(Bar("relative fall of audiobook WER, at least 0.2", fall, fall >= 0.2))
    for n, share in shares.items():
        least = 0.8 if n <= 100 else 0.6
        bars.append(Bar(f"of the speed with {n} hotwords, at least {least}", share, share >= least))
    return bars
