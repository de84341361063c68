"""When words are said, as other tools read it: NIST's CTM, Praat's TextGrid, and tables as Whisper writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silero_like.subtitles import make_cues

if TYPE_CHECKING:
    from decode.words import Word
    from silero_like.recognizer import Transcript

Span = tuple[float, float, str]
"""Start and end in seconds, and a text."""


def ctm(name: str, words: Sequence[Word]) -> str:
    """Return a line a word: recording, channel from 1, start, duration, word, confidence (NIST's format).

    >>> from decode.words import Word
    >>> ctm("talk", [Word("hi", 0.5, 0.75, 0.9)])
    'talk 1 0.500 0.250 hi 0.9000\\n'
    """
    name = "_".join(name.split())
    lines = (
        f"{name} {channel_of(w)} {w.start:.3f} {w.end - w.start:.3f} {w.word} {w.confidence:.4f}\n"
        for w in sorted(words, key=channel_of)  # as NIST's scorer wants them
    )
    return "".join(lines)


def textgrid(tiers: Mapping[str, Sequence[Span]], duration_s: float) -> str:
    """Return a TextGrid with a tier of intervals for each name, gaps filled as Praat wants."""
    end_s = max([duration_s, *(end for spans in tiers.values() for _, end, _ in spans)])
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end_s:.3f}\n'
    head += f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    return head + "".join(_tier(number, *tier, end_s) for number, tier in enumerate(tiers.items(), start=1))


def word_spans(words: Iterable[Word]) -> list[Span]:
    """Return words as the intervals of a tier."""
    return [(word.start, word.end, word.word) for word in words]


def channel_of(word: Word) -> int:
    """Return the channel of a word, from 1; that of a recording's mean is 1, too."""
    return int(getattr(word, "channel", 1))


def render_ctm(transcript: Transcript) -> str:
    """Return CTM, without a newline at the end; the recording is called what its file is, without the ending."""
    return ctm(Path(transcript.audio_filepath).stem, transcript.words).removesuffix("\n")


def render_textgrid(transcript: Transcript) -> str:
    """Return a TextGrid of utterances, cut as subtitles are, and words; two such tiers for each channel apart."""
    tiers: dict[str, Sequence[Span]] = {}
    for number, channel in enumerate(transcript.channels or [transcript], start=1):
        name = f" (channel {number})" if transcript.channels else ""
        cues = make_cues(channel)
        tiers[f"utterances{name}"] = [(cue.words[0].start, cue.words[-1].end, cue.text) for cue in cues]
        tiers[f"words{name}"] = word_spans(channel.words)
    return textgrid(tiers, transcript.duration).removesuffix("\n")


def render_tsv(transcript: Transcript) -> str:
    """Return a table of utterances, cut as subtitles are: start and end in milliseconds, text.

    Transcripts of channels have a fourth column, the channel from 1.
    """
    rows = ["start\tend\ttext" + "\tchannel" * bool(transcript.channels)]
    for cue in make_cues(transcript):
        start, end = (round(1000 * seconds) for seconds in (cue.words[0].start, cue.words[-1].end))
        rows.append(f"{start}\t{end}\t{cue.text}" + (f"\t{cue.channel}" if transcript.channels else ""))
    return "\n".join(rows)


def _tier(number: int, name: str, spans: Sequence[Span], end_s: float) -> str:
    filled = _filled(spans, end_s)
    text = f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n        xmin = 0\n'
    text += f"        xmax = {end_s:.3f}\n        intervals: size = {len(filled)}\n"
    for place, (start, end, words) in enumerate(filled, start=1):
        words = words.replace('"', '""')
        text += f"        intervals [{place}]:\n            xmin = {start:.3f}\n            xmax = {end:.3f}\n"
        text += f'            text = "{words}"\n'
    return text


def _filled(spans: Sequence[Span], end_s: float) -> list[Span]:
    """Return intervals that follow one another without gap or overlap, from 0 to the end."""
    filled: list[Span] = []
    at = 0.0
    for start, end, text in sorted(spans):
        start = max(start, at)
        if end - start < 0.0005:
            continue
        if start - at >= 0.0005:
            filled.append((at, start, ""))
        filled.append((start, end, text))
        at = end
    if end_s - at >= 0.0005:
        filled.append((at, end_s, ""))
    return filled
