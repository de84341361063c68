"""Bundles: a whole one loads; each kind of damage is refused with what was found, what was expected and the cure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from silero_like.bundle import (
    BUNDLE_FORMAT,
    TINY_PATH,
    BundleConfig,
    find_bundle,
    load_bundle,
    set_language_model,
    write_checksums,
)
from silero_like.cli import main
from silero_like.errors import BundleError

if TYPE_CHECKING:
    from conftest import StandIn

FILES = ["MODEL_CARD.md", "config.json", "model.onnx", "tokenizer.model"]
CONFIG = BundleConfig(
    format=BUNDLE_FORMAT,
    name="m",
    lang="en",
    normalizer="en-1",
    n_labels=5,
    blank_id=4,
    block_frames=8,
    context_frames=20,
    preset="tiny",
    model={"width": 8},
    training={"seed": 1},
    metrics={},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a bundle whose model and tokenizer are just bytes: loading a bundle does not open them."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(dataclasses.asdict(CONFIG)))
    (path / "model.onnx").write_bytes(bytes(range(256)) * 9)
    (path / "tokenizer.model").write_bytes(b"pieces")
    (path / "MODEL_CARD.md").write_text("# m\n")
    write_checksums(path)
    return path


def _edit_config(folder: Path, **changes: Any) -> None:
    values = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value != "-"}))
    write_checksums(folder)


def _edit_checksums(folder: Path, entries: dict[str, Any], **changes: Any) -> None:
    values = json.loads((folder / "checksums.json").read_text())
    values["files"].update(entries)
    (folder / "checksums.json").write_text(json.dumps({**values, **changes}))


def _refused(folder: Path, *expected: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    for part in expected:
        assert part in message
    assert re.search(r"[:;] (get|export|remove|copy|check|do not|pip|a bundle needs)", message)  # the cure


def test_a_whole_bundle(folder: Path) -> None:
    bundle = load_bundle(str(folder))
    assert bundle.config == CONFIG
    assert bundle.config.frame_samples == 1280
    assert (bundle.path, bundle.model_path) == (folder, folder / "model.onnx")
    assert bundle.tokenizer_path == folder / "tokenizer.model"
    assert bundle.weights_path is bundle.lm_path is None
    assert bundle.decoder == {}


def test_further_files_are_listed_and_kept(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "reference.json").write_text("{}")
    write_checksums(folder)
    assert load_bundle(folder).weights_path == folder / "weights.safetensors"


def test_checksums_file(folder: Path) -> None:
    values = json.loads((folder / "checksums.json").read_text())
    assert values["algorithm"] == "sha256"
    assert list(values["files"]) == FILES
    for name, digest in values["files"].items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    before = (folder / "checksums.json").read_bytes()
    write_checksums(folder)
    assert (folder / "checksums.json").read_bytes() == before
    (folder / "inner").mkdir()
    with pytest.raises(BundleError, match="inner: found a folder, expected a file: a bundle is flat"):
        write_checksums(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_bit(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    _refused(folder, name)


@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
@pytest.mark.parametrize("n_bytes", [0, 3])
def test_a_file_cut_short(folder: Path, name: str, n_bytes: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:n_bytes])
    _refused(folder, name)


@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    _refused(folder, name)


def test_a_missing_optional_file(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_checksums(folder)
    (folder / "weights.safetensors").unlink()
    _refused(folder, "weights.safetensors: missing, though checksums.json lists it")


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    """Give a file that begins as a KenLM binary."""
    path = tmp_path / "english.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0\0 and so on")
    return path


def test_a_language_model_is_put_in_and_replaced(folder: Path, lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "checksums.json"}
    set_language_model(folder, lm, {"alpha": 0.5, "beta": 1.0})
    bundle = load_bundle(folder)
    assert bundle.lm_path == folder / "lm.bin" and bundle.lm_path.read_bytes() == lm.read_bytes()
    assert bundle.decoder == {"alpha": 0.5, "beta": 1.0}
    lm.write_bytes(lm.read_bytes() + b"more")
    monkeypatch.chdir(folder.parent)
    set_language_model(folder.name, lm.name, {"alpha": 0.6})
    bundle = load_bundle(folder)
    assert bundle.lm_path is not None and bundle.lm_path.read_bytes() == lm.read_bytes()
    assert bundle.decoder == {"alpha": 0.6}
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, lm.name}


def test_what_is_no_language_model_is_not_put_in(folder: Path, lm: Path) -> None:
    lm.write_text("\\data\\\nngram 1=3\n")
    with pytest.raises(BundleError, match="expected a KenLM binary: write one"):
        set_language_model(folder, lm, {})
    assert load_bundle(folder).lm_path is None


@pytest.mark.parametrize("name", ["lm.bin", "decoder.json"])
def test_a_changed_language_model(folder: Path, lm: Path, name: str) -> None:
    set_language_model(folder, lm, {"alpha": 0.5})
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    _refused(folder, f"{name}: damaged or changed")
    (folder / name).unlink()
    _refused(folder, f"{name}: missing, though checksums.json lists it")


@pytest.mark.parametrize("text", ["", "[]", '{"alpha": 0.5'])
def test_decoder_settings_that_are_no_object(folder: Path, text: str) -> None:
    (folder / "decoder.json").write_text(text)
    write_checksums(folder)
    _refused(folder, "decoder.json")


def test_a_required_file_that_is_not_listed(folder: Path) -> None:
    values = json.loads((folder / "checksums.json").read_text())
    del values["files"]["MODEL_CARD.md"]
    (folder / "checksums.json").write_text(json.dumps(values))
    _refused(folder, "MODEL_CARD.md: not listed")


@pytest.mark.parametrize("name", ["code.py", ".hidden", "weights.safetensors"])
def test_a_file_that_is_not_listed(folder: Path, name: str) -> None:
    (folder / name).write_text("surprise")
    _refused(folder, f"{name}: not listed in checksums.json", "remove it")


def test_a_folder_that_is_not_listed(folder: Path) -> None:
    (folder / "inner").mkdir()
    _refused(folder, "inner: not listed")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/b", "..", ".", "", "c:\\x", "checksums.json", "a\0b"]
)
def test_names_that_leave_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("x")
    _edit_checksums(folder, {name: hashlib.sha256(b"x").hexdigest()})
    _refused(folder, "expected plain file names", "do not trust")


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, 5, None])
def test_a_digest_that_is_none(folder: Path, digest: object) -> None:
    _edit_checksums(folder, {"model.onnx": digest})
    _refused(folder, "checksums.json: expected 64 hex digits for model.onnx")


@pytest.mark.parametrize("change", [{"algorithm": "md5"}, {"files": []}, {"more": 1}])
def test_another_kind_of_checksums(folder: Path, change: dict[str, Any]) -> None:
    _edit_checksums(folder, {}, **change)
    _refused(folder, 'expected {"algorithm": "sha256"')


@pytest.mark.parametrize("text", ["[]", "null", "{", '"x"', "[" * 100_000, b"\xff\xfe\x00"])
def test_a_config_that_is_no_object(folder: Path, text: str | bytes) -> None:
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    write_checksums(folder)
    _refused(folder, "config.json")


def test_a_newer_format_is_told_before_anything_else(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": 2, "tensors": "elsewhere"}')
    (folder / "checksums.json").unlink()
    _refused(folder, "bundle format 2, this version reads up to 1", "pip install --upgrade silero_like")


def test_an_unknown_key(folder: Path) -> None:
    _edit_config(folder, colour="blue")
    _refused(folder, "config.json: unknown key 'colour': expected blank_id, block_frames")


@pytest.mark.parametrize("key", ["format", "name", "block_frames", "metrics"])
def test_a_missing_key(folder: Path, key: str) -> None:
    _edit_config(folder, **{key: "-"})
    _refused(folder, f"config.json: key '{key}' is missing")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("name", None),
        ("sample_rate", 8000),
        ("sample_rate", 16000.0),
        ("frame_s", 0.0),
        ("frame_s", 0.08001),
        ("frame_s", float("nan")),
        ("frame_s", float("inf")),
        ("frame_s", 1e-5),
        ("n_labels", 1),
        ("n_labels", True),
        ("blank_id", 0),
        ("block_frames", 0),
        ("context_frames", -1),
        ("context_frames", 2.5),
        ("model", []),
    ],
)
def test_impossible_values(folder: Path, key: str, value: object) -> None:
    _edit_config(folder, **{key: value})
    _refused(folder, f"config.json: expected {key}", "found")


def test_defaults_may_be_left_out(folder: Path) -> None:
    _edit_config(folder, frame_s="-", sample_rate="-")
    assert load_bundle(folder).config == CONFIG


def test_not_verifying_still_checks_what_is_there(folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text("# edited\n")
    assert load_bundle(folder, verify=False).config == CONFIG
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: missing"):
        load_bundle(folder, verify=False)


def test_no_bundle_at_all(folder: Path, tmp_path: Path) -> None:
    for path, found in ((tmp_path / "absent", "nothing"), (folder / "model.onnx", "a file")):
        with pytest.raises(BundleError, match=f"expected the folder of a model bundle, found {found}: check the path"):
            load_bundle(path)
    with pytest.raises(
        BundleError, match=r"config\.json: No such file.*expected a model bundle's file; check the path"
    ):
        load_bundle(tmp_path)


def test_the_stand_in_model_is_a_bundle(stand_in: StandIn) -> None:
    assert load_bundle(stand_in.path).config.n_labels == stand_in.tokenizer.n_labels


@pytest.mark.parametrize(("name", "most_bytes"), [("en", 25e6), ("en-tiny", 6e6)])
def test_a_bundled_model_is_whole_and_small(name: str, most_bytes: float) -> None:
    bundle = load_bundle(name)
    assert (bundle.config.name, bundle.config.lang) == (name, "en")
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= most_bytes


def test_a_folder_goes_before_a_bundled_model_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_bundle("en-tiny") == TINY_PATH
    assert [find_bundle(path) for path in (tmp_path / "en-tiny", "./en-tiny", "fr")] == [
        tmp_path / "en-tiny",
        Path("en-tiny"),
        Path("fr"),
    ]
    (tmp_path / "en-tiny").mkdir()
    assert find_bundle("en-tiny") == Path("en-tiny")


@pytest.mark.parametrize(("value", "code"), [("en-tiny", 0), ("", 2), ("fr", 2)])
def test_the_model_option_takes_names(value: str, code: int) -> None:
    sample = Path(__file__).parents[2] / "samples" / "audiobook.opus"
    result = CliRunner().invoke(main, ["transcribe", str(sample), "--model", value, "--format", "json"])
    assert result.exit_code == code
    assert code or json.loads(result.stdout)["model"] == "en-tiny"
