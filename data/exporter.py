"""From a manifest to what other toolkits read: NeMo's JSON lines and Kaldi's data directories."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from data.kaldi import export_kaldi
from data.manifest import Utterance, write_whole


def export_nemo(utterances: Iterable[Utterance], out: Path) -> None:
    """Write JSON lines with absolute paths, which may be moved to another folder or machine's list."""
    with write_whole(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for utterance in utterances:
            row: dict[str, object] = {
                "audio_filepath": str(utterance.audio_path),
                "offset": utterance.offset_s,
                "duration": utterance.duration_s,
                "text": utterance.text,
            }
            fields = {key: getattr(utterance, key) for key in ("speaker", "domain", "lang", "source", "annotation")}
            print(
                json.dumps(row | {key: value for key, value in fields.items() if value}, ensure_ascii=False), file=file
            )


EXPORTERS: dict[str, Callable[[Iterable[Utterance], Path], None]] = {"nemo": export_nemo, "kaldi": export_kaldi}
