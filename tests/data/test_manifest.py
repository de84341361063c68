"""Manifests: a round trip, then each kind of bad row."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.manifest import Utterance, read_manifest, write_manifest
from silero_like.errors import ManifestError

GOOD = {"audio_filepath": "a.wav", "duration": 1.5, "text": "hello"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").touch()
    return tmp_path


def write_lines(folder: Path, *lines: object) -> Path:
    path = folder / "m.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_plain_nemo_row_gets_the_defaults(folder: Path) -> None:
    row = GOOD | {"lang_id": "x", "speaker": None, "duration": 2}
    manifest = read_manifest(write_lines(folder, row, "", GOOD | {"offset": 1.5}))
    assert manifest.problems == ()
    assert manifest.utterances == (
        Utterance(audio_path=folder / "a.wav", duration_s=2.0, text="hello", speaker="", domain="default"),
        Utterance(audio_path=folder / "a.wav", duration_s=1.5, text="hello", offset_s=1.5),
    )
    assert manifest.sha256 == hashlib.sha256(manifest.path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{nonsense", "not JSON: Expecting property name"),
        ("[" * 100_000, "not JSON: "),
        ('{"duration": ' + "9" * 5000 + "}", "not JSON: "),
        ("[1]", "expected a JSON object, got a list"),
        ("null", "expected a JSON object, got null"),
        ({"duration": 1, "text": "x"}, "audio_filepath is missing"),
        ({"audio_filepath": "a.wav", "text": "x"}, "duration is missing"),
        ({"audio_filepath": "a.wav", "duration": 1}, "text is missing"),
        (GOOD | {"audio_filepath": ""}, "audio_filepath is empty"),
        (GOOD | {"audio_filepath": ["a.wav"]}, "audio_filepath must be a string, got a list"),
        (GOOD | {"audio_filepath": "no.wav"}, "no audio file at "),
        (GOOD | {"audio_filepath": "."}, "no audio file at "),
        (GOOD | {"audio_filepath": "a\0b"}, "no audio file at "),
        (GOOD | {"audio_filepath": "x" * 5000}, "no audio file at "),
        (GOOD | {"text": " \t"}, "text is empty"),
        (GOOD | {"text": 5}, "text must be a string, got a number"),
        (GOOD | {"text": "\ud800"}, "text holds half of a surrogate pair"),
        (GOOD | {"duration": 0}, "duration must be above 0 s, got 0.0"),
        (GOOD | {"duration": -1}, "duration must be above 0 s, got -1.0"),
        (GOOD | {"duration": float("nan")}, "duration must be a finite number, got nan"),
        (GOOD | {"duration": float("inf")}, "duration must be a finite number, got inf"),
        (GOOD | {"duration": 10**400}, "duration must be a finite number, got 1000"),
        (GOOD | {"duration": "1.5"}, "duration must be a number, got a string"),
        (GOOD | {"duration": True}, "duration must be a number, got a boolean"),
        (GOOD | {"offset": -0.1}, "offset must not be below 0 s, got -0.1"),
        (GOOD | {"offset": float("nan")}, "offset must be a finite number"),
        (GOOD | {"annotation": "guessed"}, "annotation must be one of manual, aligned, subtitles, pseudo, synthetic"),
        (GOOD | {"quality": "good"}, "quality must be a number, got a string"),
        (GOOD | {"speaker": 7}, "speaker must be a string, got a number"),
    ],
)
def test_bad_row_is_told_and_the_rest_is_kept(folder: Path, line: object, message: str) -> None:
    path = write_lines(folder, GOOD, line)
    manifest = read_manifest(path)
    assert len(manifest.utterances) == 1
    assert manifest.problems[0].startswith(f"{path}:2: {message}")
    with pytest.raises(ManifestError) as error:
        read_manifest(path, strict=True)
    assert str(error.value) == manifest.problems[0]


def test_duplicates_are_counted_and_the_first_is_kept(folder: Path) -> None:
    same = GOOD | {"audio_filepath": "./a.wav", "text": "other"}
    path = write_lines(folder, GOOD, same, GOOD | {"offset": 1}, GOOD | {"audio_filepath": str(folder / "a.wav")})
    manifest = read_manifest(path)
    assert [utterance.text for utterance in manifest.utterances] == ["hello", "hello"]
    assert manifest.n_duplicates == 2
    assert manifest.problems[0] == f"{path}:2: duplicate of line 1: same audio_filepath and offset"


def test_bytes_that_are_not_utf8_and_windows_files(folder: Path) -> None:
    path = folder / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b'\r\n{"text": "\xff"}\r\n')
    manifest = read_manifest(path)
    assert len(manifest.utterances) == 1
    assert manifest.problems == (f"{path}:2: not UTF-8 (byte 11 of the line)",)


def test_missing_audio_is_fine_when_not_checked(tmp_path: Path) -> None:
    manifest = read_manifest(write_lines(tmp_path, GOOD), check_audio=False)
    assert manifest.utterances[0].audio_path == tmp_path / "a.wav"


def test_unreadable_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.jsonl: cannot read the manifest \(No such file"):
        read_manifest(tmp_path / "none.jsonl")


def test_paths_do_not_depend_on_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(folder, GOOD)
    monkeypatch.chdir(folder)
    assert read_manifest("m.jsonl").utterances == read_manifest(path).utterances


@given(
    st.builds(
        Utterance,
        audio_path=st.sampled_from([Path("in/b.wav"), Path("../out.wav"), Path("/elsewhere/c.wav")]),
        duration_s=st.floats(1e-3, 1e6),
        text=st.text(min_size=1).filter(str.strip),
        speaker=st.text(),
        domain=st.text(),
        lang=st.sampled_from(["", "en"]),
        source=st.text(),
        offset_s=st.floats(0, 1e6),
        annotation=st.sampled_from([None, "manual", "pseudo"]),
        quality=st.none() | st.floats(-1, 1),
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, utterance: Utterance) -> None:
    folder = tmp_path_factory.getbasetemp() / "round_trip"
    absolute = Path(os.path.normpath(folder / utterance.audio_path))
    utterance = Utterance(**(vars(utterance) | {"audio_path": absolute}))
    write_manifest(folder / "m.jsonl", [utterance])
    assert read_manifest(folder / "m.jsonl", check_audio=False).utterances == (utterance,)


def test_written_file_by_hand(tmp_path: Path) -> None:
    inside = Utterance(audio_path=tmp_path / "x" / "a.wav", duration_s=1.0, text="你好", quality=0.5)
    outside = Utterance(audio_path=Path("/else/b.wav"), duration_s=2.0, text="b", offset_s=3.0, annotation="manual")
    write_manifest(tmp_path / "m.jsonl", [inside, outside])
    common = '"speaker": "", "domain": "default", "lang": "", "source": ""'
    assert (tmp_path / "m.jsonl").read_text(encoding="utf-8") == (
        f'{{"audio_filepath": "x/a.wav", "duration": 1.0, "text": "你好", {common}, "quality": 0.5}}\n'
        f'{{"audio_filepath": "/else/b.wav", "duration": 2.0, "text": "b", {common}, "offset": 3.0, '
        '"annotation": "manual"}\n'
    )


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "old")
    bad = Utterance(audio_path=tmp_path / "a.wav", duration_s=float("nan"), text="x")
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(path, [bad])
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.jsonl"]


@pytest.mark.corpus
def test_corpus_manifests_are_clean() -> None:
    corpus = Path(os.environ.get("SILERO_LIKE_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus"))
    paths = sorted(corpus.glob("*.jsonl"))
    if not paths:
        pytest.skip("no speech corpus: set SILERO_LIKE_CORPUS")
    manifests = [read_manifest(path) for path in paths]
    assert [manifest.problems for manifest in manifests] == [()] * len(paths)
