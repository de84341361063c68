import json
import re
from pathlib import Path

import pytest
import yaml

from silero_like.errors import ConfigError
from train.config import load_recipe
from train.dry_run import dry_run
from train.loop import Trainer

LETTERS = {"en": "abcd", "ru": "абвё", "zh": "一二三四"}


def rewrite(folder: Path, source: Path, name: str, **changes: object) -> None:
    """Copy the tone manifest with absolute paths and some fields changed."""
    rows = [json.loads(line) for line in (source / "train.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"audio_filepath": str(source / row["audio_filepath"]), **changes}
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_it_reports_domains_batches_memory_and_one_step(recipe_path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    rows = (tone_corpus / "train.jsonl").read_text().splitlines()
    audio_s = sum(json.loads(row)["duration"] for row in rows)
    report = dry_run(load_recipe(recipe_path, ["optimizer.total_steps=90", "loop.batch_s=8"]))
    lines = report.splitlines()
    assert lines[0].startswith("tones: 0.0") and lines[0].endswith(" M parameters, 10 pieces")
    assert lines[2].split() == ["tones", "24", f"{audio_s / 3600:.2f}", "100.0%"]
    assert f"90 steps: at most {90 * 8 / audio_s:.1f} passes a process" in report
    found = re.search(r"first round: (\d+), (\d+) to (\d+) utterances of ([0-9.]+) to ([0-9.]+) s, (\d+)%", report)
    assert found
    n_batches, smallest, largest, _, longest, filled = map(float, found.groups())
    assert 3 <= n_batches <= 5 and smallest <= largest <= 8 / 0.9
    assert longest <= 1.7 / 0.95 + 0.1 and 50 < filled <= 100  # 4 tones of 0.4 s and 0.1 s, slowed by 0.95 at most
    assert "memory: about 0.7 GB a process on a GPU" in report
    assert re.search(r"one step on made-up data: loss [0-9.]+$", report, re.M)
    assert lines[-1] == "This was a dry run: nothing was trained, no audio was decoded."
    assert not (tmp_path / "run").exists()


def test_a_dry_run_needs_no_audio_that_can_be_read(recipe_path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"")
    row = {"audio_filepath": "broken.wav", "duration": 2.5, "text": "a b", "domain": "odd"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
    rewrite(tmp_path, tone_corpus, "train.jsonl")
    report = dry_run(load_recipe(recipe_path, [f"data.root={tmp_path}", "data.train=[train.jsonl, one.jsonl]"]))
    assert re.search(r"^odd +1 +0\.00 +50\.0%$", report, re.M)


def test_a_single_utterance_is_enough(recipe_path: Path, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    row = {"audio_filepath": "x.wav", "duration": 1.0, "text": "a b"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
    overrides = [f"data.root={tmp_path}", "data.train=[one.jsonl]", "data.dev=[]", "tokenizer.vocab_size=4"]
    assert "at most 64.0 passes a process" in dry_run(load_recipe(recipe_path, overrides))


def test_left_out_rows_are_counted(recipe_path: Path, tone_corpus: Path) -> None:
    report = dry_run(load_recipe(recipe_path, ["data.max_duration_s=1.0"]))
    assert "left out: 16 longer than 1.0 s" in report  # two tones last 0.9 s, three and four more


def test_fp16_is_estimated_like_bf16(recipe_path: Path) -> None:
    reports = {p: dry_run(load_recipe(recipe_path, [f"loop.precision={p}"])) for p in ("fp16", "bf16", "fp32")}
    memory = {p: next(line for line in text.splitlines() if "memory" in line) for p, text in reports.items()}
    assert memory["fp16"] == memory["bf16"] != memory["fp32"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.train=[nothing.jsonl]"], r"nothing\.jsonl: cannot read"),
        (["data.root=${NO_SUCH_FOLDER}"], "NO_SUCH_FOLDER"),
        (["data.lang=xx"], "no text normaliser 'xx'"),
        (["tokenizer.vocab_size=900"], "too small for 900 pieces"),
        (["model.preset=huge"], "unknown model preset 'huge'"),
        (["model.overrides.depth=3"], "unknown model field 'depth'"),
        (["sampling.weights={calls: 1}"], "domain 'calls'"),
        (["augment.noise=nothing.json"], r"nothing\.json"),
        (["finetune.freeze=[stern]"], "no parameter begins with 'stern'"),
    ],
)
def test_what_training_would_stumble_over_is_told(recipe_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        dry_run(load_recipe(recipe_path, overrides))
    assert type(caught.value).__module__ == "silero_like.errors"


def test_fine_tuning_is_checked_too(recipe_path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(recipe_path, [f"output_dir={tmp_path / 's'}", "optimizer.total_steps=1", "data.dev=[]"])).run()
    rewrite(tmp_path, tone_corpus, "new.jsonl", domain="new")
    rewrite(tmp_path, tone_corpus, "old.jsonl", domain="old")
    recipe = yaml.safe_load(recipe_path.read_text())
    recipe["data"] = {"root": str(tmp_path), "train": ["new.jsonl"], "replay": ["old.jsonl"], "dev": []}
    recipe["model"], recipe["finetune"] = {}, {"init": str(tmp_path / "s" / "last.safetensors"), "replay": 0.3}
    recipe_path.write_text(yaml.safe_dump(recipe))
    report = dry_run(load_recipe(recipe_path))
    assert f"goes on from {tmp_path / 's' / 'last.safetensors'}: 0.0" in report
    assert re.search(r"^new +24 .* 70\.0%$", report, re.M) and re.search(
        r"^old \(replay\) +24 .* 30\.0%$", report, re.M
    )
    frozen = dry_run(load_recipe(recipe_path, ["finetune.freeze=[conv_blocks, attention_blocks, stem]"]))
    assert "last.safetensors: 0.00 M learn" in frozen
    with pytest.raises(ConfigError, match="normalised by en-1"):
        dry_run(load_recipe(recipe_path, ["data.lang=zh"]))


@pytest.mark.parametrize("lang", LETTERS)
def test_other_scripts_pass(recipe_path: Path, tone_corpus: Path, tmp_path: Path, lang: str) -> None:
    rewrite(tmp_path, tone_corpus, "train.jsonl", lang=lang)
    text = (tmp_path / "train.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        row["text"] = row["text"].translate(str.maketrans(LETTERS["en"], LETTERS[lang]))
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = dry_run(load_recipe(recipe_path, [f"data.root={tmp_path}", f"data.lang={lang}"]))
    assert "left out: none" in report and "10 pieces" in report
