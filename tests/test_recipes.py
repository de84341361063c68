"""Every shipped recipe passes a dry run, and docs/training.md's scripts write the manifests that the recipes name."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from data.manifest import read_manifest
from train.config import Recipe, load_recipe
from train.dry_run import dry_run

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ON_THE_CORPUS = [path for path in RECIPES if "SILERO_LIKE_CORPUS" in path.read_text(encoding="utf-8")]
PUBLIC = [path for path in RECIPES if path not in ON_THE_CORPUS]
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/training.md").read_text(encoding="utf-8"), re.M | re.S)
LETTERS = {"en": "etaoinshrdlu", "ru": "оеаинтсрвлкм"}
DOMAINS = {
    "train-clean-100": "clean",
    "train-clean-360": "clean",
    "train-other-500": "other",
    "private_buriy_audiobooks_2": "books",
    "public_youtube700": "youtube",
    "public_youtube1120_hq": "youtube",
    "asr_public_phone_calls_1": "calls",
    "asr_public_phone_calls_2": "calls",
}
"""Manifest -> domain, as docs/training.md's scripts name it; the corpus names a manifest after its domain."""


def named(path: Path) -> str:
    return path.stem


def write_manifest(path: Path, lang: str, domain: str) -> None:
    """Write 30 rows of made-up words over one second of audio, which a dry run does not open."""
    generator = np.random.default_rng(len(path.name))
    soundfile.write(path.with_suffix(".wav"), np.zeros(16000), 16000)
    rows = []
    for number in range(30):
        words = ["".join(generator.choice(list(LETTERS[lang]), size=5)) for _ in range(20)]
        row = {"audio_filepath": path.with_suffix(".wav").name, "offset": float(number), "duration": 12.0 + number / 10}
        rows.append(row | {"text": " ".join(words), "domain": domain})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def made_up(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Set the recipe's variable and write the manifests that it names."""
    recipe = load_recipe(path, [f"output_dir={folder / 'run'}"])
    variable = re.fullmatch(r"\$\{(\w+)\}", recipe.data.root)
    assert variable, "data.root is one variable, which the header names"
    monkeypatch.setenv(variable[1], str(folder))
    for name in (*recipe.data.train, *recipe.data.dev, *recipe.data.replay):
        stem = name.removesuffix(".jsonl")
        write_manifest(folder / name, recipe.data.lang, DOMAINS.get(stem, stem.split(".")[0]))
    return recipe


@pytest.mark.parametrize("path", RECIPES, ids=named)
def test_a_dry_run_on_made_up_manifests(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = dry_run(made_up(path, tmp_path, monkeypatch))
    assert f"{path.stem}: " in report and "one step on made-up data: loss" in report
    assert "left out: none" in report
    estimate = re.search(r"memory: about ([0-9.]+) GB a process", report)
    assert estimate and float(estimate[1]) < 11
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", RECIPES, ids=named)
def test_targets_and_weights_name_domains_that_there_are(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = made_up(path, tmp_path, monkeypatch)
    manifests = [read_manifest(tmp_path / name) for name in (*recipe.data.train, *recipe.data.replay)]
    domains = {utterance.domain for manifest in manifests for utterance in manifest.utterances}
    assert set(recipe.curriculum.targets) <= domains and set(recipe.sampling.weights) <= domains


@pytest.mark.parametrize("path", PUBLIC, ids=named)
def test_public_recipes_are_for_two_older_cards_and_say_what_was_not_run(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.loop.precision == "fp16"  # these cards have no bf16
    assert recipe.optimizer.total_steps == 20 * recipe.loop.eval_every  # as `silero-like forecast` likes it
    text = path.read_text(encoding="utf-8")
    assert "No full run has been made with this recipe; it was checked by a dry run." in text
    assert f"torchrun --nproc-per-node 2 -m train recipes/{path.name}" in text


@pytest.mark.corpus
@pytest.mark.parametrize("path", ON_THE_CORPUS, ids=named)
def test_a_dry_run_on_the_corpus(path: Path, corpus_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILERO_LIKE_CORPUS", str(corpus_path))
    report = dry_run(load_recipe(path))
    hours = [float(found) for found in re.findall(r"^\S+(?: \(replay\))? +\d+ +([0-9.]+) +[0-9.]+%$", report, re.M)]
    assert sum(hours) == pytest.approx(16.0, abs=0.2)  # all English training speech, a few impossible rows left out


@pytest.mark.corpus
def test_fine_tuning_the_bundled_model_on_the_corpus(
    corpus_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILERO_LIKE_CORPUS", str(corpus_path))
    report = dry_run(load_recipe(ROOT / "recipes/en-tiny-finetune.yaml", [f"finetune.init={bundled_model}"]))
    assert f"goes on from {bundled_model}: 5.68 M learn" in report
    assert re.search(r"^spelling_digits +\d+ +[0-9.]+ +50\.0%$", report, re.M)
    assert len(re.findall(r"^\w+ \(replay\) +\d+ +[0-9.]+ +6\.2%$", report, re.M)) == 8  # half of the draws, equally


def script(start: str) -> str:
    """Return the script of docs/training.md that begins so."""
    return next(code for code in SCRIPTS if code.startswith(f"# {start}"))


def run_script(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", str(folder)])
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "docs/training.md", "exec"), {"__name__": "__main__"})


def test_the_librispeech_script_writes_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for subset, speaker in (("train-clean-100", "103"), ("train-other-500", "20")):
        chapter = tmp_path / subset / speaker / "1240"
        chapter.mkdir(parents=True)
        names = [f"{speaker}-1240-{number:04}" for number in range(2)]
        for name in names:
            soundfile.write(chapter / f"{name}.flac", np.zeros(24000), 16000)
        text = "".join(f"{name} CHAPTER ONE MISSUS RACHEL LYNDE\n" for name in names)
        (chapter / f"{speaker}-1240.trans.txt").write_text(text)
    run_script(script("librispeech.py"), tmp_path, monkeypatch)
    clean, other = (
        read_manifest(tmp_path / f"{name}.jsonl", strict=True) for name in ("train-clean-100", "train-other-500")
    )
    assert [utterance.domain for utterance in (*clean.utterances, *other.utterances)] == ["clean"] * 2 + ["other"] * 2
    first = clean.utterances[0]
    assert (first.duration_s, first.speaker, first.lang) == (1.5, "103", "en")
    assert first.audio_path == tmp_path / "train-clean-100/103/1240/103-1240-0000.flac"
    assert first.text == "CHAPTER ONE MISSUS RACHEL LYNDE"


def test_the_open_stt_script_writes_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(ROOT / "recipes/open-stt-ru.yaml")
    (tmp_path / "manifests").mkdir()
    for name in (*recipe.data.train, *recipe.data.dev):
        stem = name.removesuffix(".jsonl")
        folder = tmp_path / stem / "0" / "a1"
        folder.mkdir(parents=True)
        soundfile.write(folder / "b2.wav", np.zeros(24000), 16000)
        (folder / "b2.txt").write_text("ёлка, привет\n", encoding="utf-8")
        line = f"{stem}/0/a1/b2.wav,{stem}/0/a1/b2.txt,1.5\n"
        (tmp_path / "manifests" / f"{stem}.csv").write_text(line)
    run_script(script("open_stt.py"), tmp_path, monkeypatch)
    domains = {}
    for name in (*recipe.data.train, *recipe.data.dev):
        (utterance,) = read_manifest(tmp_path / name, strict=True).utterances
        domains[name.removesuffix(".jsonl")] = utterance.domain
        assert (utterance.text, utterance.duration_s, utterance.lang) == ("ёлка, привет", 1.5, "ru")
    assert {name: domains[name] for name in DOMAINS if name in domains} == {
        name: domain for name, domain in DOMAINS.items() if name in domains
    }
    assert set(domains.values()) == set(recipe.curriculum.targets)


def test_every_recipe_is_explained() -> None:
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert [path.name for path in RECIPES if f"recipes/{path.name}" not in text] == []


def test_every_piece_of_a_recipe_on_the_page_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(code) for code in re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)]
    assert len(blocks) > 3
    for block in blocks:
        base = {"name": "x", "output_dir": "x", "data": {"train": ["x"], "dev": []}, "optimizer": {"total_steps": 1}}
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(base | block))
        load_recipe(tmp_path / "x.yaml")


def test_every_option_that_the_page_names_exists() -> None:
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    recipe = load_recipe(RECIPES[0])
    sections = "|".join(field.name for field in dataclasses.fields(recipe) if field.name not in ("name", "seed"))
    options = re.findall(rf"(?<![-/\w])({sections})\.([a-z_]+)\b", text)
    assert len(options) > 30
    assert [option for option in options if not hasattr(getattr(recipe, option[0]), option[1])] == []
