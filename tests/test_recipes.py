"""Every shipped recipe passes a dry run, and the importers give its corpora the domains that it names."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
import yaml

from data.importer import ImportOptions, import_rows
from data.manifest import Utterance, read_manifest
from data.readers import READERS
from data.sources import Source
from silero_like.cli import main
from train.config import Recipe, load_recipe
from train.dry_run import dry_run

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ON_THE_CORPUS = [path for path in RECIPES if "SILERO_LIKE_CORPUS" in path.read_text(encoding="utf-8")]
PUBLIC = [path for path in RECIPES if path not in ON_THE_CORPUS]
LETTERS = {"en": "etaoinshrdlu", "ru": "оеаинтсрвлкм", "zh": "".join(chr(0x4E00 + number) for number in range(2500))}
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
"""Manifest -> domain, as the importers name it; the corpus names a manifest after its domain."""


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
    """Set the recipe's variable and write the manifests and noise that it names."""
    recipe = load_recipe(path, [f"output_dir={folder / 'run'}"])
    variable = re.fullmatch(r"\$\{(\w+)\}", recipe.data.root)
    assert variable, "data.root is one variable, which the header names"
    monkeypatch.setenv(variable[1], str(folder))
    for name in (*recipe.data.train, *recipe.data.dev, *recipe.data.replay):
        stem = name.removesuffix(".jsonl")
        write_manifest(folder / name, recipe.data.lang, DOMAINS.get(stem, stem.split(".")[0]))
    if recipe.augment.noise:
        index = folder / recipe.augment.noise
        index.parent.mkdir()
        soundfile.write(index.parent / "hum.wav", np.sin(np.arange(1600) / 5), 16000)
        index.write_text(json.dumps([{"file": "hum.wav", "kind": "noise"}]), encoding="utf-8")
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
    spoken = 6.7 if path.stem.startswith("zh") else 16.0
    assert sum(hours) == pytest.approx(spoken, abs=0.2)  # all training speech, a few impossible rows left out


@pytest.mark.corpus
def test_fine_tuning_the_bundled_model_on_the_corpus(
    corpus_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILERO_LIKE_CORPUS", str(corpus_path))
    report = dry_run(load_recipe(ROOT / "recipes/en-tiny-finetune.yaml", [f"finetune.init={bundled_model}"]))
    assert f"goes on from {bundled_model}: 8.35 M learn" in report
    assert re.search(r"^spelling_digits +\d+ +[0-9.]+ +50\.0%$", report, re.M)
    assert len(re.findall(r"^\w+ \(replay\) +\d+ +[0-9.]+ +6\.2%$", report, re.M)) == 8  # half of the draws, equally


def run_import(name: str, source: Path, out: Path) -> Utterance:
    """Import a corpus of one good row."""
    rows = READERS[name].read(Source(path=source))
    import_rows(rows, Source(path=source), out, ImportOptions())
    (utterance,) = read_manifest(out, strict=True).utterances
    return utterance


def test_librispeech_gets_the_domains_of_the_recipes(tmp_path: Path) -> None:
    for subset, domain in DOMAINS.items():
        if domain in ("clean", "other"):
            chapter = tmp_path / subset / "103" / "1240"
            chapter.mkdir(parents=True)
            soundfile.write(chapter / "103-1240-0000.flac", np.zeros(24000), 16000)
            (chapter / "103-1240.trans.txt").write_text("103-1240-0000 CHAPTER ONE\n")
            assert run_import("librispeech", tmp_path / subset, tmp_path / f"{subset}.jsonl").domain == domain


def test_open_stt_gets_the_domains_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes/open-stt-ru.yaml")
    soundfile.write(tmp_path / "a.wav", np.zeros(24000), 16000)
    (tmp_path / "a.txt").write_text("да\n", encoding="utf-8")
    domains = {}
    for name in (*recipe.data.train, *recipe.data.dev):
        stem = name.removesuffix(".jsonl")
        (tmp_path / f"{stem}.csv").write_text("a.wav,a.txt,1.5\n")
        domains[stem] = run_import("open-stt", tmp_path / f"{stem}.csv", tmp_path / name).domain
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


def test_every_command_of_the_english_script_is_one(tmp_path: Path) -> None:
    log, corpus = tmp_path / "log", tmp_path / "corpus with spaces"
    corpus.mkdir()
    for name in ("python", "silero-like"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nprintf "%s\\0" {name} "$@" >> "{log}"; echo >> "{log}"\n')
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = ["sh", "recipes/en.sh", str(corpus), str(tmp_path / "out")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    lines = (line.split("\0")[:-1] for line in log.read_text().splitlines())
    teacher, train, grown, on, mean, export, tune, pruned, noisy, last, mean_tiny, export_tiny, tune_tiny = lines
    assert teacher[1:4] == ["-m", "train.moonshine", "recipes/en-tiny.yaml"]
    for words, folder in (
        *((train, "tiny"), (grown, "grown"), (on, "on")),
        *((pruned, "pruned"), (noisy, "pruned-noise"), (last, "pruned-on")),
    ):
        overrides = [value for key, value in itertools.pairwise(words) if key == "--set"]
        recipe = load_recipe(ROOT / "recipes" / "en-tiny.yaml", overrides)
        assert recipe.data.train[-1] == str(tmp_path / "out" / "teacher" / "pseudo.jsonl")
        assert recipe.distill.targets == str(tmp_path / "out" / "teacher" / "targets.safetensors")
        assert recipe.output_dir == str(tmp_path / "out" / folder)
        assert recipe.name == ("en-tiny" if folder.startswith(("pruned", "tiny")) else "en")
        assert recipe.augment.noise_probability == (0.4 if folder in ("grown", "on", "pruned-noise") else None)
    assert [grown[2], on[2]] == [str(tmp_path / "out" / name / "best.safetensors") for name in ("tiny", "grown")]
    assert mean[1:5] == ["-m", "train.average", export[2], on[2]]
    assert [pruned[2], export_tiny[2]] == [export[3], mean_tiny[3]]
    assert {noisy[2], last[2]} < {f"{tmp_path}/out/pruned/step-{step}.safetensors" for step in range(0, 40001, 2000)}
    # the parser of each command knows its options
    for words in (train, grown, on, export, tune, pruned, noisy, last, export_tiny, tune_tiny):
        with main.make_context("silero-like", words[1:]) as context:
            group, words = (main, words[1:]) if words[1] != "lm" else (main.get_command(context, "lm"), words[2:])
            assert isinstance(group, click.Group)
            known = group.get_command(context, words[0])
            assert known
            known.make_parser(context).parse_args(words[1:])
    dev = [f"{corpus}/{name}" for name in load_recipe(ROOT / "recipes" / "en-tiny.yaml").data.dev]
    assert tune[3:8] == tune_tiny[3:8] == dev
