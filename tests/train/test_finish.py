import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from silero_like import load
from silero_like.audio import load_audio
from train.config import CurriculumConfig, load_recipe
from train.curriculum import Curriculum, Observation
from train.dataset import Dataset, load_dataset
from train.finish import change_table, write_suspects
from train.loop import Trainer

LETTERS = {"ru": "абвё", "zh": "一二三四"}


def evaluation(step: int, **cers: float | None) -> str:
    return json.dumps({"event": "eval", "step": step, "domains": {name: {"cer": cer} for name, cer in cers.items()}})


def dataset(recipe_path: Path, folder: Path, domains: Sequence[str], *, n_new: int) -> Dataset:
    """A data set with one utterance of each domain, of which the first `n_new` are new and the rest replayed."""
    (folder / "x.wav").write_bytes(b"")
    overrides = [f"data.root={folder}", "data.train=[new.jsonl]", "data.dev=[]", "tokenizer.vocab_size=4"]
    for name, key, part in (("new", "train", domains[:n_new]), ("old", "replay", domains[n_new:])):
        row = {"audio_filepath": "x.wav", "duration": 2, "text": "a b"}
        rows = [row | {"offset": number, "domain": domain} for number, domain in enumerate(part)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        overrides += [f"data.{key}=[{name}.jsonl]"] if rows else []
    return load_dataset(load_recipe(recipe_path, overrides), work_dir=folder)


def test_the_table_of_changes_by_hand(recipe_path: Path, tmp_path: Path) -> None:
    data = dataset(recipe_path, tmp_path, ["spelling", "calls", "talks"], n_new=1)
    log = [
        evaluation(0, spelling=0.9, calls=0.1, talks=0.3),
        '{"event": "train", "step": 50}',
        evaluation(50, spelling=0.7, calls=0.9, talks=0.9),
        '{"event": "eva',  # killed here; what was logged after the last checkpoint is logged again
        evaluation(50, spelling=0.5, calls=0.2, talks=0.4),
        evaluation(100, spelling=0.05, calls=0.125, talks=None),
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(log) + "\n")
    assert change_table(tmp_path, data).splitlines() == [
        "domain                   kind      before     step 50       after",
        "spelling                 new        90.0%       50.0%        5.0%",
        "calls                    old        10.0%       20.0%       12.5%",
        "talks                    old        30.0%       40.0%           -",
        "macro                    old        20.0%       30.0%           -",
    ]


def test_a_domain_that_was_not_measured_each_time_has_no_number(recipe_path: Path, tmp_path: Path) -> None:
    data = dataset(recipe_path, tmp_path, ["spelling", "calls"], n_new=1)
    log = [evaluation(0, spelling=0.9, calls=0.1), evaluation(50, calls=0.2)]
    (tmp_path / "log.jsonl").write_text("\n".join(log) + "\n")
    assert change_table(tmp_path, data).splitlines()[1].split() == ["spelling", "new", "90.0%", "-"]


def test_a_long_run_is_shown_at_a_few_steps(recipe_path: Path, tmp_path: Path) -> None:
    data = dataset(recipe_path, tmp_path, ["spelling", "calls"], n_new=1)
    log = [evaluation(step, spelling=0.5, calls=0.5) for step in range(0, 2100, 100)]
    (tmp_path / "log.jsonl").write_text("\n".join(log) + "\n")
    header = change_table(tmp_path, data).splitlines()[0]
    assert re.split("  +", header.removeprefix("domain").strip())[1:] == [
        "before", "step 400", "step 800", "step 1200", "step 1600", "after",
    ]  # fmt: skip


def test_a_log_without_evaluations_is_said(recipe_path: Path, tmp_path: Path) -> None:
    data = dataset(recipe_path, tmp_path, ["spelling", "calls"], n_new=1)
    (tmp_path / "log.jsonl").write_text('{"event": "train", "step": 1}\n')
    assert "holds no evaluation" in change_table(tmp_path, data)


def test_suspects_are_written_with_what_was_heard(recipe_path: Path, tmp_path: Path) -> None:
    data = dataset(recipe_path, tmp_path, ["tones"] * 20, n_new=20)
    curriculum = Curriculum(CurriculumConfig(), [example.domain for example in data.examples], np.linspace(0, 1, 20))
    for _ in range(5):
        curriculum.observe([Observation(i, 3 * (i == 7), 3, "c d" if i == 7 else "a b") for i in range(20)], 0.5)
    write_suspects(tmp_path / "suspects.jsonl", data, curriculum)
    (row,) = [json.loads(line) for line in (tmp_path / "suspects.jsonl").read_text().splitlines()]
    assert row == {
        "audio_filepath": str(tmp_path / "x.wav"), "offset": 7.0, "duration": 2.0, "domain": "tones",
        "text": "a b", "hypothesis": "c d", "cer": 1.0, "neighbours_cer": 0.0,
    }  # fmt: skip


def test_the_recipe_of_a_run_reads_back_as_it_was(recipe_path: Path, tmp_path: Path) -> None:
    overrides = [
        "optimizer.total_steps=1",
        "data.dev=[]",
        "sampling.weights={tones: 2}",
        "curriculum.targets={tones: 0.05}",
        "card.limits=['ё: 100 %']",
    ]
    recipe = load_recipe(recipe_path, overrides)
    Trainer(recipe).run()
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe


@pytest.mark.parametrize(("lang", "n_chars"), [("ru", 5), ("zh", 3)])
def test_a_run_in_another_script_is_measured(
    recipe_path: Path, tone_corpus: Path, tmp_path: Path, lang: str, n_chars: int
) -> None:
    """Three letters are five characters of Russian, with spaces, and three of Mandarin, without."""
    rows = [json.loads(line) for line in (tone_corpus / "train.jsonl").read_text().splitlines()]
    rows = [row for row in rows if len(row["text"].split()) == 3]
    for row in rows:
        row["audio_filepath"] = str(tone_corpus / row["audio_filepath"])
        row["text"] = row["text"].translate(str.maketrans("abcd", LETTERS[lang]))  # no "lang": the recipe knows
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trainer = Trainer(load_recipe(recipe_path, [f"data.root={tmp_path}", f"data.lang={lang}"]))
    trainer.run()
    assert trainer.data.normalizer.label == f"{lang}-1"
    example = trainer.data.examples[0]
    assert trainer.data.tokenizer.decode(example.token_ids) == example.text
    assert example.text == rows[0]["text"].replace("ё", "е").replace(" ", "" if lang == "zh" else " ")
    scores = trainer.metrics["domains"]["tones"]
    assert (scores["utterances"], scores["chars"]) == (len(rows), n_chars * len(rows))
    assert scores["cer"] is not None


@pytest.mark.slow
def test_a_finished_run_leaves_a_bundle_that_transcribes_and_its_suspect_labels(
    recipe_path: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (tone_corpus / "train.jsonl").read_text().splitlines()]
    for row in rows:
        row["audio_filepath"] = str(tone_corpus / row["audio_filepath"])
    wrong = {3: "dcdc", 10: "bbbb"}  # nothing like what is heard, without spaces
    # Two right copies of the same audio keep so small a model from learning the wrong label by heart.
    copies = [rows[number] | {"offset": offset} for number in wrong for offset in (0.001, 0.002)]
    labelled = [row | {"text": wrong.get(number, row["text"])} for number, row in enumerate(rows)]
    for name, part in (("dev", rows), ("train", labelled + copies)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    overrides = [f"data.root={tmp_path}", "data.dev=[dev.jsonl]", "optimizer.total_steps=200", "loop.log_every=50"]
    Trainer(load_recipe(recipe_path, [*overrides, "loop.eval_every=100", "loop.bundle=true"])).run()
    listed = [json.loads(line) for line in (tmp_path / "run" / "suspects.jsonl").read_text().splitlines()]
    assert {(row["audio_filepath"], row["text"]) for row in listed} == {
        (rows[number]["audio_filepath"], text) for number, text in wrong.items()
    }
    recognizer = load(tmp_path / "run" / "bundle")
    heard = [recognizer.transcribe(load_audio(row["audio_filepath"])).text for row in rows]
    assert sum(text == row["text"] for text, row in zip(heard, rows, strict=True)) >= 0.8 * len(rows)
    card = (tmp_path / "run" / "bundle" / "MODEL_CARD.md").read_text()
    assert "# tones" in card and "| tones | 24 |" in card and "Not measured" not in card
