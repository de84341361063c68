import json
from pathlib import Path

import numpy as np
import pytest
import torch

from silero_like.errors import ConfigError
from train.config import load_recipe
from train.dataset import load_dataset
from train.distributed import Group
from train.feed import Feed, base_shares


def make(recipe_path: Path, tmp_path: Path, *overrides: str) -> Feed:
    recipe = load_recipe(recipe_path, overrides)
    return Feed(recipe, load_dataset(recipe, work_dir=tmp_path), Group())


def path_of(feed: Feed, text: str) -> torch.Tensor:
    """Return a greedy path `(1, T)` that reads `text`."""
    blank = feed.data.tokenizer.blank_id
    return torch.tensor([[label for token in feed.data.tokenizer.encode(text) for label in (token, blank)]])


def test_difficulty_is_the_character_error_rate_of_the_greedy_path(recipe_path: Path, tmp_path: Path) -> None:
    feed = make(recipe_path, tmp_path)
    batch = next(feed.batches(0))
    first = feed.data.examples[batch.indices[0]]
    wrong = "d" + first.text[1:] if first.text[0] != "d" else "a" + first.text[1:]
    labels = torch.full((len(batch.indices), 20), feed.data.tokenizer.blank_id)
    path = path_of(feed, wrong)
    labels[0, : path.shape[1]] = path
    empty = feed.done(batch, labels, torch.full((len(batch.indices),), 20))
    assert empty == pytest.approx(1 - 1 / len(batch.indices))
    assert feed.observations[0].errors == 1 and feed.observations[0].chars == len(first.text)
    assert all(o.cer == 1 for o in feed.observations[1:])


def test_state_resumes_in_the_middle_of_a_round(recipe_path: Path, tmp_path: Path) -> None:
    feed = make(recipe_path, tmp_path)
    batches = feed.batches(0)
    for _ in range(5):  # rounds are about three batches long
        batch = next(batches)
        feed.done(batch, path_of(feed, "a b").repeat(len(batch.indices), 1), torch.full((len(batch.indices),), 2))
    tensors, values = feed.state()
    expected = [next(batches) for _ in range(2)]
    other = make(recipe_path, tmp_path)
    other.restore(tensors, json.loads(json.dumps(values)))
    got = other.batches(5)
    for batch in expected:
        again = next(got)
        assert again.indices == batch.indices and torch.equal(again.waveform, batch.waveform)
        other.done(again, path_of(other, "a b").repeat(len(batch.indices), 1), torch.full((len(batch.indices),), 2))
        feed.done(batch, path_of(feed, "a b").repeat(len(batch.indices), 1), torch.full((len(batch.indices),), 2))


def test_another_training_set_is_refused(recipe_path: Path, tmp_path: Path, tone_corpus: Path) -> None:
    tensors, values = make(recipe_path, tmp_path).state()
    rows = (tone_corpus / "train.jsonl").read_text().splitlines()[:10]
    (tone_corpus / "fewer.jsonl").write_text("\n".join(rows) + "\n")
    other = make(recipe_path, tmp_path, "data.train=[fewer.jsonl]")
    with pytest.raises(ConfigError, match="learned from 24 utterances of tones, now there are 10"):
        other.restore(tensors, values)


def test_replay_gets_its_share_beside_domains_of_the_same_name(recipe_path: Path, tmp_path: Path) -> None:
    feed = make(recipe_path, tmp_path, "data.replay=[train.jsonl]", "finetune.replay=0.25", "curriculum.enabled=false")
    assert base_shares(feed.recipe, feed.data.examples) == pytest.approx({"tones": 0.75, "tones (replay)": 0.25})
    batches = feed.batches(0)
    drawn = [feed.data.examples[i].is_replay for _ in range(60) for i in consume(feed, next(batches))]
    assert abs(np.mean(drawn) - 0.25) < 5 * (0.25 * 0.75 / len(drawn)) ** 0.5  # five standard deviations
    shares = feed.observed_shares()
    assert abs(shares["tones (replay)"] - 0.25) < 0.1


def test_the_curriculum_leaves_replay_its_share(recipe_path: Path, tmp_path: Path) -> None:
    feed = make(recipe_path, tmp_path, "data.replay=[train.jsonl]", "finetune.replay=0.25")
    for name, errors in (("tones", 90.0), ("tones (replay)", 1.0)):
        feed.curriculum.states[name].errors, feed.curriculum.states[name].chars = errors, 100.0
    assert feed._shares() == pytest.approx({"tones": 0.75, "tones (replay)": 0.25})


def consume(feed: Feed, batch: object) -> tuple[int, ...]:
    indices: tuple[int, ...] = batch.indices  # type: ignore[attr-defined]
    feed.done(batch, torch.zeros(len(indices), 1, dtype=torch.int64), torch.ones(len(indices), dtype=torch.int64))  # type: ignore[arg-type]
    return indices


def test_a_lowered_budget_makes_later_rounds_smaller_and_survives_a_resume(recipe_path: Path, tmp_path: Path) -> None:
    feed = make(recipe_path, tmp_path)
    batches = feed.batches(0)
    consume(feed, next(batches))
    feed.lower_budget()
    tensors, values = feed.state()
    other = make(recipe_path, tmp_path)
    other.restore(tensors, values)
    resumed = other.batches(1)
    for _ in range(6):  # the round that was begun goes on as it was planned
        assert consume(feed, next(batches)) == consume(other, next(resumed))
    assert feed.sampler.batch_s == other.sampler.batch_s == pytest.approx(0.7 * 8)
