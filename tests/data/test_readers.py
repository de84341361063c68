"""Each format: a faithfully made example of it, then what goes wrong in the wild, every row accounted for."""

from __future__ import annotations

import gc
import gzip
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data.exporter import EXPORTERS
from data.importer import GROUP, ImportOptions, import_rows, length_s
from data.manifest import Utterance, read_manifest
from data.parallel import AHEAD
from data.readers import READERS
from data.sources import Row, Source
from data.summary import Summary
from silero_like.errors import AudioError, ConfigError, ManifestError


def audio(path: Path, seconds: float = 0.5, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"format": "OGG", "subtype": "OPUS"} if path.suffix.lower() == ".opus" else {}
    soundfile.write(path, np.zeros(int(seconds * rate)), rate, **kind)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def run(
    name: str, path: Path, encoding: str = "utf-8", audio_root: Path | None = None, **options: Any
) -> tuple[tuple[Utterance, ...], Summary]:
    """Import; return what the manifest holds, and the summary, which must account for the same."""
    source = Source(path=path, encoding=encoding, audio_root=audio_root)
    out = path.parent / "out" / "out.jsonl"
    summary = import_rows(READERS[name].read(source), source, out, ImportOptions(**options))
    utterances = read_manifest(out, strict=True).utterances if summary.utterances else ()
    assert (summary.utterances, summary.audio_s) == (len(utterances), sum(row.duration_s for row in utterances))
    return utterances, summary


def test_folder(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    for name in ("anna/b.wav", "anna/a.flac", "boris/c.OPUS", "boris/d.wav", ".trash/x.wav"):
        audio(root / name)
    text(root / "anna/a.txt", "\ufeffПривет,\r\nмир\r\n")
    text(root / "anna/b.txt", "二零二四年")
    text(root / "boris/c.TXT", "Hello\n")
    text(root / "notes.txt", "not a transcript")
    utterances, summary = run("folder", root, speaker_from="folder", lang="ru")
    assert [(row.text, row.speaker, row.lang) for row in utterances] == [
        ("Привет, мир", "anna", "ru"),
        ("二零二四年", "anna", "ru"),
        ("Hello", "boris", "ru"),
    ]
    assert [row.duration_s for row in utterances] == [0.5] * 3
    assert dict(summary.refused) == {"no text file": 1}
    assert summary.examples["no text file"] == [f"{root}/boris/d.wav: no text file: expected d.txt beside it"]


def test_folder_with_a_pipe_and_utf_16(tmp_path: Path) -> None:
    """A pipe under a recording's name would be waited for; UTF-16 without its mark is text in UTF-8, full of zeros."""
    root = audio(tmp_path / "speech/a.wav").parent
    os.mkfifo(root / "b.wav")
    text(root / "a.txt", "yes".encode("utf-16-le"))
    text(root / "b.txt", "no")
    assert run("folder", root)[1].refused == {"not text in this encoding": 1, "no audio file": 1}
    assert [row.text for row in run("folder", root, encoding="utf-16-le")[0]] == ["yes"]


@pytest.mark.parametrize("below", ["", "archives", "../up"])
def test_open_stt(tmp_path: Path, below: str) -> None:
    """Headerless CSV, a tree of hashed folders, text in side files; the manifest says .wav, the archive has .opus."""
    manifest = tmp_path / "manifests" / "public_youtube700.csv"
    tree = manifest.parent / below / "public_youtube700"
    rows = []
    for number, spoken in enumerate(["привет как дела", "ёлка", "да"]):
        name = f"{number}/{number}f/5d75b69a69b{number}"
        audio(tree / f"{name}.opus")
        text(tree / f"{name}.txt", f"{spoken}\n")
        rows.append(f"public_youtube700/{name}.wav,public_youtube700/{name}.txt,1.{number}\r\n")
    text(manifest, "".join(rows))
    root = tree.parent if below == "../up" else None
    utterances, summary = run("open-stt", manifest, audio_root=root)
    assert [(row.text, row.duration_s) for row in utterances] == [("привет как дела", 1.0), ("ёлка", 1.1), ("да", 1.2)]
    first = utterances[0]
    assert (first.lang, first.domain, first.annotation, first.source, first.speaker) == (
        "ru", "youtube", "subtitles", "Open STT public_youtube700", "",
    )  # fmt: skip
    assert first.audio_path == (tree / "0/0f/5d75b69a69b0.opus").resolve()
    assert summary.without_speaker == 3 and not summary.refused


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("private_buriy_audiobooks_2", ("books", "aligned")),
        ("buriy_audiobooks_2_val", ("books", "manual")),
        ("asr_public_phone_calls_2", ("calls", "pseudo")),
        ("tts_russian_addresses_rhvoice_4voices", ("addresses", "synthetic")),
        ("radio_2", ("radio", "aligned")),
        ("something_new", ("default", None)),
    ],
)
def test_open_stt_sets(tmp_path: Path, name: str, about: tuple[str, str | None]) -> None:
    audio(tmp_path / "0/a.wav")
    text(tmp_path / "0/a.txt", "да")
    (row,), _ = run("open-stt", text(tmp_path / f"{name}.csv", "0/a.wav,0/a.txt,0.5\n"))
    assert (row.domain, row.annotation) == about


def test_open_stt_with_everything_broken(tmp_path: Path) -> None:
    """Old manifests have absolute paths of another machine; texts may be gone, empty or in the wrong encoding."""
    for name in ("a", "empty", "cp1251", "notext", "zero"):
        audio(tmp_path / f"set/0/{name}.wav")
    for name, content in (("a", "да".encode()), ("empty", b" \n"), ("cp1251", "да".encode("cp1251")), ("zero", b"a")):
        text(tmp_path / f"set/0/{name}.txt", content)
    text(tmp_path / "set/0/noaudio.txt", "да")
    lines = [f"/nvme/stt/data/set/0/{name}.wav,/nvme/stt/data/set/0/{name}.txt,1.0" for name in
             ("a", "empty", "cp1251", "notext", "noaudio", "a")]  # fmt: skip
    lines += [
        "/nvme/stt/data/set/0/zero.wav,/nvme/stt/data/set/0/zero.txt,0",
        "only,two",
        '"an open quote',
        "a,b,inf",
        "",
        "x,y,z,1",
    ]
    lines += [f"/nvme/stt/data/set/0/zero.wav,/nvme/stt/data/set/0/zero.txt,{s}" for s in ("nan", "1e-9", "-1")]
    path = text(tmp_path / "set.csv", "\n".join(lines))
    utterances, summary = run("open-stt", path)
    assert [row.text for row in utterances] == ["да"]
    assert dict(summary.refused) == {
        "text is empty": 1, "not text in this encoding": 1, "no text file": 2, "no audio file": 1, "duplicate": 1,
        "no stretch of audio": 4, "not three columns": 3,
    }  # fmt: skip
    assert summary.rows == 14
    utterances, summary = run("open-stt", path, encoding="cp1251")
    assert "да" in {row.text for row in utterances} and not summary.refused["not text in this encoding"]


def test_librispeech(tmp_path: Path) -> None:
    for subset, speaker in (("train-clean-5", "103"), ("dev-other", "20")):
        chapter = tmp_path / "LibriSpeech" / subset / speaker / "1240"
        names = [f"{speaker}-1240-{number:04}" for number in range(3)]
        for name in names[:2]:
            audio(chapter / f"{name}.flac")
        text(chapter / f"{speaker}-1240.trans.txt", "".join(f"{name} CHAPTER ONE\n" for name in names))
    utterances, summary = run("librispeech", tmp_path / "LibriSpeech")
    assert [(row.speaker, row.domain, row.text, row.lang) for row in utterances] == [
        *[("20", "other", "CHAPTER ONE", "en")] * 2,
        *[("103", "clean", "CHAPTER ONE", "en")] * 2,
    ]
    assert dict(summary.refused) == {"no audio file": 2}
    with pytest.raises(ManifestError, match=r"no \*\.trans\.txt in it"):
        run("librispeech", audio(tmp_path / "empty" / "a.wav").parent)


CV_HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\t"
    "locale\tsegment"
)


def cv_line(path: str, sentence: str, locale: str = "ru") -> str:
    return f"ab12\t{path}\t9f\t{sentence}\t\t2\t0\ttwenties\tfemale_feminine\t\t\t{locale}\t"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_common_voice(tmp_path: Path, newline: str, codec: str) -> None:
    audio(tmp_path / "clips/common_voice_ru_1.mp3", 0.9)
    audio(tmp_path / "clips/common_voice_zh-CN_2.opus")
    lines = [
        CV_HEADER,
        cv_line("common_voice_ru_1.mp3", 'Он сказал: "Да, 21-й".'),
        cv_line("common_voice_zh-CN_2.mp3", "范围包括平冢市。", "zh-CN"),
        cv_line("common_voice_ru_3.mp3", "нет"),
        "ab12\tcut off",
    ]
    path = text(tmp_path / "validated.tsv", newline.join(lines).encode(codec))
    utterances, summary = run("common-voice", path)
    assert [(row.text, row.lang, row.speaker) for row in utterances] == [
        ('Он сказал: "Да, 21-й".', "ru", "ab12"),
        ("范围包括平冢市。", "zh", "ab12"),
    ]
    assert utterances[0].duration_s == pytest.approx(0.9, abs=0.1)
    assert dict(summary.refused) == {"no audio file": 1, "another number of columns than the header": 1}
    text(tmp_path / "clip_durations.tsv", "clip\tduration[ms]\ncommon_voice_ru_1.mp3\t4321\n")
    assert run("common-voice", path)[0][0].duration_s == 4.321


def test_common_voice_wants_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"a.tsv:1: expected columns client_id, path and sentence, got a, b"):
        run("common-voice", text(tmp_path / "a.tsv", "a\tb\n"))


def test_ljspeech(tmp_path: Path) -> None:
    for name in ("LJ001-0001", "LJ001-0002", "LJ001-0003"):
        audio(tmp_path / "LJ" / f"wavs/{name}.wav", rate=22050)
    text(
        tmp_path / "LJ" / "metadata.csv",
        'LJ001-0001|Printed in 1450, "Bible"|Printed in fourteen fifty, "Bible"\nLJ001-0002|Only one.|\n'
        "LJ001-0003\nLJ001-0004|Gone.|Gone.\n",
    )
    utterances, summary = run("ljspeech", tmp_path / "LJ")
    assert [row.text for row in utterances] == ['Printed in fourteen fifty, "Bible"', "Only one."]
    assert {(row.speaker, row.lang, row.duration_s) for row in utterances} == {("LJ", "en", 0.5)}
    assert dict(summary.refused) == {"no | in the line": 1, "no audio file": 1}
    other = text(tmp_path / "ru" / "transcripts.csv", "one|раз\nwavs/two.flac|два\n")
    audio(other.parent / "wavs/one.wav")
    audio(other.parent / "wavs/two.flac")
    assert [(row.text, row.speaker) for row in run("ljspeech", other)[0]] == [("раз", ""), ("два", "")]


def test_kaldi_with_segments(tmp_path: Path) -> None:
    path = audio(tmp_path / "calls" / "call 1.flac", 3.0)
    audio(tmp_path / "data" / "call2.wav")
    text(
        tmp_path / "data" / "wav.scp", f"r1 flac -c -d -s '{path}' |\nr2 call2.wav\nr3 sox a.wav -t wav - speed 1.1 |\n"
    )
    text(tmp_path / "data" / "segments", "b r1 1.5 2.5\na r1 0.25 1.25\nc r2 0 -1\nd r3 0 1\nf r1 x 2\n")
    text(tmp_path / "data" / "text", "a\thello there\nb да да\nc 你好\nd no\ne lost\nf bad\n")
    text(tmp_path / "data" / "utt2spk", "a\tanna\nb boris\nc cai\n")
    text(tmp_path / "data" / "utt2lang", "a en\nb ru\nc zh\n")
    utterances, summary = run("kaldi", tmp_path / "data", domain="calls")
    rows = [(row.text, row.speaker, row.lang, row.offset_s, row.duration_s, row.audio_path.name) for row in utterances]
    assert rows == [
        ("hello there", "anna", "en", 0.25, 1.0, "call 1.flac"),
        ("да да", "boris", "ru", 1.5, 1.0, "call 1.flac"),
        ("你好", "cai", "zh", 0.0, 0.5, "call2.wav"),
    ]  # fmt: skip
    assert dict(summary.refused) == {"a command makes the audio": 1, "no segment": 2}


def test_kaldi_without_segments(tmp_path: Path) -> None:
    audio(tmp_path / "a.wav")
    text(tmp_path / "data" / "wav.scp", f"a {tmp_path}/a.wav\nb {tmp_path}/gone.wav\n")
    text(tmp_path / "data" / "text", "b two\na one\nc three\n")
    utterances, summary = run("kaldi", tmp_path / "data")
    assert [(row.text, row.speaker, row.duration_s) for row in utterances] == [("one", "", 0.5)]
    assert dict(summary.refused) == {"no audio file": 1, "not in wav.scp": 1}
    with pytest.raises(ManifestError, match="No such file"):
        run("kaldi", tmp_path)


def test_nemo(tmp_path: Path) -> None:
    audio(tmp_path / "m/wav/a.wav")
    row = {"audio_filepath": "wav/a.wav", "duration": 0.5, "text": "раз", "speaker": "s", "lang": "ru", "source": "x"}
    rows = [row, row | {"offset": 0.1, "annotation": "pseudo", "quality": 0.5, "domain": "d"}, row]
    rows += [row | {"audio_filepath": str(tmp_path / "m/wav/a.wav"), "offset": 0.2}, row | {"audio_filepath": "b.wav"}]
    lines = [json.dumps(row) for row in rows] + ["{broken", json.dumps(row | {"duration": 0, "offset": 9})]
    utterances, summary = run("nemo", text(tmp_path / "m" / "set.json", "\r\n".join(lines)))
    assert [(row.offset_s, row.annotation, row.quality, row.domain) for row in utterances] == [
        (0.0, None, None, "default"),
        (0.1, "pseudo", 0.5, "d"),
        (0.2, None, None, "default"),
    ]
    assert dict(summary.refused) == {
        "duplicate": 1, "no audio file": 1, "not JSON": 1, "duration must be above 0 s": 1,
    }  # fmt: skip
    elsewhere = text(tmp_path / "moved" / "set.json", json.dumps(row | {"audio_filepath": "/old/disk/wav/a.wav"}))
    assert run("nemo", elsewhere)[1].refused == {"no audio file": 1}
    assert len(run("nemo", elsewhere, audio_root=tmp_path / "m")[0]) == 1


@pytest.mark.parametrize(("suffix", "codec"), [(".json.gz", "utf-8"), (".json", "cp1251"), (".json", "utf-16")])
def test_nemo_of_other_machines(tmp_path: Path, suffix: str, codec: str) -> None:
    r"""Gzipped, in another encoding, or with \ in its paths, as other lists may be."""
    audio(tmp_path / "wav/a.wav")
    row = {"audio_filepath": "wav\\a.wav", "duration": 0.5, "text": "раз"}
    content = f"\r\n{json.dumps(row, ensure_ascii=False)}\r\nnull\r\n".encode(codec)
    path = text(tmp_path / f"set{suffix}", gzip.compress(content) if suffix.endswith("gz") else content)
    utterances, summary = run("nemo", path, encoding=codec)
    assert [(row.text, row.audio_path) for row in utterances] == [("раз", tmp_path / "wav/a.wav")]
    assert summary.examples == {"expected a JSON object": [f"{path}:3: expected a JSON object, got null"]}


def test_lhotse(tmp_path: Path) -> None:
    path = audio(tmp_path / "rec.flac", 4.0)

    def cut(start: float, **changes: Any) -> dict[str, Any]:
        recording = {
            "id": "rec", "sources": [{"type": "file", "channels": [0], "source": str(path)}], "sampling_rate": 16000,
            "num_samples": 64000, "duration": 4.0, "channel_ids": [0],
        }  # fmt: skip
        supervision = {
            "id": "s", "recording_id": "rec", "start": 0.25, "duration": 0.5, "channel": 0, "text": "你好",
            "language": "Chinese", "speaker": "li",
        }  # fmt: skip
        return {
            "id": f"cut{start}", "start": start, "duration": 1.0, "channel": 0, "supervisions": [supervision],
            "recording": recording, "type": "MonoCut",
        } | changes  # fmt: skip

    command = cut(0)["recording"] | {"sources": [{"type": "command", "channels": [0], "source": "cat x"}]}
    stereo = cut(0)["recording"] | {"sources": [{"type": "file", "channels": [0, 1], "source": str(path)}]}
    cuts = [cut(0.0), cut(2.0), cut(2.0 + 1e-9), cut(3.0, recording=command), cut(3.1, recording=stereo)]
    cuts += [{"id": "mix", "tracks": [], "type": "MixedCut"}, cut(3.2, supervisions=[{"text": "no times"}])]
    cuts += [cut(3.3, supervisions=None), cut(3.4, supervisions=[cut(0)["supervisions"][0] | {"text": 5}])]
    cuts += [cut(3.5, recording={"sources": [{"type": "file", "source": 5}]})]
    content = "\n".join(json.dumps(cut) for cut in cuts).encode()
    manifest = text(tmp_path / "cuts.jsonl.gz", gzip.compress(content))
    utterances, summary = run("lhotse", manifest)
    assert [(row.text, row.lang, row.speaker, row.offset_s, row.duration_s) for row in utterances] == [
        ("你好", "zh", "li", 0.25, 0.5),
        ("你好", "zh", "li", 2.25, 0.5),
    ]
    assert dict(summary.refused) == {
        "not one file of one channel": 2, "not a cut of a recording": 3, "not a supervision": 2, "duplicate": 1,
    }  # fmt: skip
    manifest.write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(ManifestError, match=r"cuts.jsonl.gz: cannot read it"):
        run("lhotse", manifest)


@pytest.mark.parametrize("name", ["open-stt", "common-voice", "nemo", "lhotse"])
def test_a_binary_file_is_refused_line_by_line_or_whole(tmp_path: Path, name: str) -> None:
    path = text(tmp_path / "x.bin", np.random.default_rng(0).bytes(4096))
    if name == "common-voice":
        with pytest.raises(ManifestError, match=r"x\.bin:1: expected columns"):
            run(name, path)
        return
    utterances, summary = run(name, path)
    assert not utterances and summary.refused.total() == summary.rows > 5


def test_options_beat_the_corpus(tmp_path: Path) -> None:
    audio(tmp_path / "LJ/wavs/LJ001-0001.wav")
    text(tmp_path / "LJ/metadata.csv", "LJ001-0001|a|a\n")
    options = {"lang": "ru", "domain": "d", "source": "s", "annotation": "synthetic", "speaker_from": r"/(\w+)-"}
    (row,), _ = run("ljspeech", tmp_path / "LJ", **options)
    assert (row.lang, row.domain, row.source, row.annotation, row.speaker) == ("ru", "d", "s", "synthetic", "LJ001")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speaker_from": "("}, "no regular expression"),
        ({"speaker_from": "abc"}, "with one group"),
        ({"annotation": "guess"}, "annotation: expected one of manual, "),
    ],
)
def test_impossible_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImportOptions(**options)  # type: ignore[arg-type]


def test_lengths(tmp_path: Path) -> None:
    wav, opus = audio(tmp_path / "a.wav", 0.7), audio(tmp_path / "a.opus", 0.7)
    assert (length_s(wav), length_s(opus)) == (0.7, 0.7)
    mp3 = audio(tmp_path / "a.mp3", 2.0)
    with_tag = length_s(mp3)
    data = mp3.read_bytes()
    assert b"Xing" in data[:4096] or b"Info" in data[:4096]
    mp3.write_bytes(data.replace(b"Xing", b"xing", 1).replace(b"Info", b"info", 1))
    assert length_s(mp3) == pytest.approx(with_tag, abs=0.15) == pytest.approx(2.0, abs=0.15)
    for content in (b"", b"RIFF not audio"):
        with pytest.raises(AudioError):
            length_s(text(tmp_path / "bad.wav", content))


@pytest.mark.parametrize("jobs", [1, 3])
def test_threads_change_nothing(tmp_path: Path, jobs: int) -> None:
    for number in range(200):
        if number % 7:
            text(tmp_path / f"f/{number:03}.txt", f"text {number}")
        (tmp_path / "f").mkdir(exist_ok=True)
        (tmp_path / f"f/{number:03}.wav").symlink_to(tmp_path / "a.wav")
    audio(tmp_path / "a.wav")
    utterances, summary = run("folder", tmp_path / "f", jobs=jobs)
    assert [row.text for row in utterances] == [f"text {number}" for number in range(200) if number % 7]
    assert summary.refused == {"no text file": 29}


@pytest.mark.parametrize("name", list(EXPORTERS))
def test_round_trip(tmp_path: Path, name: str) -> None:
    """What is exported and imported again is the same, but for what the format has no place for."""
    wav, flac = audio(tmp_path / "a b.wav", 2.0), audio(tmp_path / "c.flac", 2.0)
    rows = [
        Utterance(audio_path=wav, duration_s=0.5, text="раз два", speaker="anna k", lang="ru", offset_s=0.25),
        Utterance(audio_path=wav, duration_s=1.0, text="three", speaker="anna k", lang="en", offset_s=1.0),
        Utterance(audio_path=flac, duration_s=2.0, text="你好", lang="zh"),
        Utterance(audio_path=flac, duration_s=0.5, text="Ёж", speaker="яна", lang="ru", offset_s=0.5),
    ]
    out = tmp_path / "export" / "set"
    EXPORTERS[name](iter(rows), out)
    utterances, summary = run(name, out)
    assert not summary.refused

    def plain(rows: Iterable[Utterance]) -> list[tuple[object, ...]]:
        return sorted((row.audio_path, row.offset_s, row.duration_s, row.text, row.lang) for row in rows)

    assert plain(utterances) == plain(rows)
    if name == "kaldi":
        for file in out.iterdir():
            keys = [line.split()[0].encode() for line in file.read_text(encoding="utf-8").splitlines()]
            assert keys == sorted(keys) and len(set(keys)) == len(keys)
        utt2spk = [line.split() for line in (out / "utt2spk").read_text(encoding="utf-8").splitlines()]
        assert all(utterance.startswith(speaker) for utterance, speaker in utt2spk)
        with pytest.raises(ConfigError, match="not empty"):
            EXPORTERS[name](iter(rows), out)


def made_up(name: str, folder: Path, n_rows: int) -> Path:
    """Write a manifest of many rows about one recording of a day."""
    path, row = folder / f"{n_rows}.{name}", {"audio_filepath": "a.wav", "duration": 1.5, "speaker": "anna"}
    text(folder / "a.txt", "да")
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            if name == "nemo":
                print(json.dumps(row | {"offset": number / 4, "text": f"строка номер {number}"}), file=file)
            elif name == "open-stt":
                print(f"a.wav,a.txt,{1 + number / 4}", file=file)
            else:
                print(CV_HEADER if not number else cv_line("a.wav", f"строка номер {number}"), file=file)
    return path


@pytest.mark.parametrize("name", ["nemo", "open-stt", "common-voice"])
def test_rows_pass_one_by_one(tmp_path: Path, name: str) -> None:
    """However many rows there are, only those that a thread is at are in memory."""
    audio(tmp_path / "a.wav")
    source = Source(path=made_up(name, tmp_path, 3000))
    alive: list[int] = []

    def advance(summary: Summary) -> None:
        if summary.rows % 1000 == 500:
            alive.append(sum(type(item) in (Row, Utterance) for item in gc.get_objects()))

    import_rows(READERS[name].read(source), source, tmp_path / "out.jsonl", ImportOptions(), advance)
    assert len(alive) == 3 and max(alive) <= 2 * GROUP * (AHEAD + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nemo", "open-stt", "common-voice"])
def test_a_million_rows_in_less_than_300_mb(tmp_path: Path, name: str) -> None:
    audio(tmp_path / "a.wav")
    path = made_up(name, tmp_path, 1_000_000)
    arguments = ["data", "import", name, str(path), str(tmp_path / "out.jsonl"), "--json", str(tmp_path / "s.json")]
    command = [sys.executable, "-c", "from silero_like.cli import main; main()", *arguments]
    subprocess.run(command, check=False, capture_output=True)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["rows"] == 1_000_000 - (name == "common-voice")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 300_000
