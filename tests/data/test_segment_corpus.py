"""`data.segment` on real speech: minutes, not hours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.manifest import read_manifest
from data.segment import Segmenter
from silero_like.audio import load_audio
from silero_like.recognizer import load


@pytest.mark.corpus
def test_training_speech_is_found_and_text_from_elsewhere_is_not(corpus_path: Path, tmp_path: Path) -> None:
    utterances = read_manifest(corpus_path / "audiobook.train.jsonl").utterances[:120:20]
    parts, spans, n = [], [], 0
    for utterance in utterances:
        clip = load_audio(utterance.audio_path)
        spans.append((n / 16000, (n + len(clip)) / 16000))
        parts += [clip, np.zeros(12000, np.float32)]
        n += len(clip) + 12000
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.concatenate(parts), 16000)
    texts = [utterance.text for utterance in utterances]
    texts[2:2] = ["this sentence was never said by anybody in the whole recording"]
    del texts[5]
    sentences, duration_s = Segmenter(load(decoder="greedy")).find(path, texts)
    assert duration_s == pytest.approx(n / 16000)
    assert [bool(sentence.dropped) for sentence in sentences] == [number == 2 for number in range(len(texts))]
    kept = [sentence for sentence in sentences if not sentence.dropped]
    true = [span for number, span in enumerate(spans) if number != 4]
    for sentence, (start, end) in zip(kept, true, strict=True):  # the clips begin and end with up to 0.5 s of silence
        assert start - 0.2 < sentence.start < start + 0.8 and end - 0.8 < sentence.end < end + 0.3
        assert sentence.words[0].start == sentence.start and sentence.words[-1].end == sentence.end
