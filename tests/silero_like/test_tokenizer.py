"""Tokenizers trained on made-up sentences in three scripts, and the command that trains them."""

import gzip
import json
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from data.text import get_normalizer
from silero_like import tokenizer
from silero_like.cli import main
from silero_like.errors import BundleError, ConfigError
from silero_like.tokenizer import Tokenizer, train_tokenizer

SENTENCES = {
    "en": ["The quick brown fox doesn't jump", "over the lazy dogs", "we've vexed my big sphinx of quartz, Jack"],
    "ru": ["Съешь ещё этих мягких французских булок", "да выпей же чаю", "широкая электрификация южных губерний"],
    "zh": ["今天天气很好，我们去公园。", "你今天去公园吗？", "我用 Python 3 写程序"],
}
N_PIECES = {"en": 50, "ru": 50, "zh": 42}


def normalized(lang: str) -> list[str]:
    return [get_normalizer(lang)(sentence) for sentence in SENTENCES[lang]]


@pytest.fixture(scope="module", params=SENTENCES)
def lang(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trained(lang: str, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp(lang) / "new folder" / "tokenizer.model"
    return train_tokenizer(normalized(lang), path, vocab_size=N_PIECES[lang])


def test_layout(trained: Tokenizer, lang: str) -> None:
    assert trained.vocab_size == trained.blank_id == len(trained.pieces) == N_PIECES[lang]
    assert trained.n_labels == N_PIECES[lang] + 1
    assert trained.pieces[0] == "<unk>"
    assert not {"<s>", "</s>", "<pad>"} & set(trained.pieces)


def test_round_trip(trained: Tokenizer, lang: str) -> None:
    for text in normalized(lang):
        token_ids = trained.encode(text)
        assert 0 not in token_ids
        assert trained.decode(token_ids) == text
        assert "".join(trained.pieces[i] for i in token_ids).replace("▁", " ").strip() == text
    assert trained.encode("") == []
    assert trained.decode([]) == ""


@given(st.data())
def test_round_trip_of_any_words_in_known_letters(trained: Tokenizer, lang: str, data: st.DataObject) -> None:
    letters = sorted(set("".join(normalized(lang))) - {" "})
    text = " ".join(data.draw(st.lists(st.text(alphabet=letters, min_size=1))))
    assert trained.decode(trained.encode(text)) == text


def test_a_long_text_is_decoded_in_passages_to_the_same(
    trained: Tokenizer, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in normalized(lang):
        token_ids = [*trained.encode(text), 0, *trained.encode(text)]
        whole = trained.decode(token_ids)
        for many in (1, 2, 5):
            monkeypatch.setattr(tokenizer, "MANY_TOKENS", many)
            assert trained.decode(token_ids) == whole
        monkeypatch.undo()


@given(st.text())
def test_any_text_encodes_to_valid_ids(trained: Tokenizer, text: str) -> None:
    token_ids = trained.encode(text)
    assert all(0 <= i < trained.vocab_size for i in token_ids)
    trained.decode(token_ids)


def test_training_twice_gives_the_same_bytes(trained: Tokenizer, lang: str, tmp_path: Path) -> None:
    again = train_tokenizer(iter([*normalized(lang), "", " "]), tmp_path / "t.model", vocab_size=N_PIECES[lang])
    assert again.model == trained.model == (tmp_path / "t.model").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["t.model"]


def test_loads_from_path_bytes_and_pickle(trained: Tokenizer, lang: str, tmp_path: Path) -> None:
    (tmp_path / "t.model").write_bytes(trained.model)
    text = normalized(lang)[0]
    for source in (str(tmp_path / "t.model"), tmp_path / "t.model", trained.model):
        assert Tokenizer(source).encode(text) == trained.encode(text)
    assert pickle.loads(pickle.dumps(trained)).encode(text) == trained.encode(text)


def test_ids_out_of_range(trained: Tokenizer) -> None:
    with pytest.raises(ValueError, match=f"got {trained.blank_id}: that is the blank: collapse the labels first"):
        trained.decode([1, trained.blank_id])
    with pytest.raises(ValueError, match=f"from 0 to {trained.vocab_size - 1}, got -1: wrong tokenizer"):
        trained.decode([-1])


def test_no_cut_of_the_file_is_accepted(trained: Tokenizer) -> None:
    name_end = trained.model.rindex(b"identity") + len(b"identity")
    for length in range(name_end):
        with pytest.raises(BundleError):
            Tokenizer(trained.model[:length])


def test_damaged_and_missing_files(trained: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "t.model"
    with pytest.raises(BundleError, match=r"t\.model: cannot read the tokenizer \(No such file"):
        Tokenizer(path)
    path.write_bytes(b"not a model")
    with pytest.raises(BundleError, match=r"t\.model: not a sentencepiece model"):
        Tokenizer(path)
    with pytest.raises(BundleError, match="normaliser other than identity"):
        Tokenizer(trained.model.replace(b"identity", b"nmt_nfkc"))


@pytest.mark.parametrize(
    ("texts", "vocab_size", "message"),
    [
        (["", "  "], 20, "no text to train a tokenizer on"),
        (["hello world"], 500, r"too small for 500 pieces, it holds \d+: lower vocab_size"),
        (["hello world"], 5, "needs at least 9 pieces .* got vocab_size 5: raise it"),  # 7 letters, ▁ and <unk>
        (["hello world"], 0, "could not train 0 pieces"),
        (["a" * 2_000_000], 5, "expected lines up to 1048576 bytes, got one of 2000000"),
    ],
)
def test_training_errors(
    texts: list[str], vocab_size: int, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_tokenizer(texts, tmp_path / "t.model", vocab_size=vocab_size)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""  # sentencepiece logs from C++ unless told not to


def test_unknown_model_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="among bpe, unigram, got 'word'"):
        train_tokenizer(["hello"], tmp_path / "t.model", vocab_size=6, model_type="word")


def test_many_pieces_warn_with_the_reason(tmp_path: Path) -> None:
    words = [f"{a}{b}{c}" for a in "abcdefghijklm" for b in "nopqrstuvwxyz" for c in "aeiouy'"]
    with pytest.warns(UserWarning, match="1001 pieces: above 1000 .* rare pieces are never learned on small data"):
        train_tokenizer(words, tmp_path / "t.model", vocab_size=1001)


def test_many_characters_do_not_warn(tmp_path: Path) -> None:
    characters = "".join(chr(0x4E00 + number) for number in range(1100))
    tokenizer = train_tokenizer([characters], tmp_path / "t.model", vocab_size=1105)
    assert tokenizer.decode(tokenizer.encode(characters)) == characters


def test_command_trains_on_manifests_and_texts(tmp_path: Path) -> None:
    row = {"audio_filepath": "a.wav", "duration": 1, "text": "The QUICK brown fox.", "lang": "en"}
    rows = [row, row | {"audio_filepath": "b.wav", "text": "你好", "lang": "zh"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(tmp_path / "books.txt.gz", "wt") as file:
        file.write("over the lazy dogs\n")
    output = tmp_path / "tokenizer.model"
    inputs = [str(tmp_path / "m.jsonl"), str(tmp_path / "books.txt.gz"), "-"]
    result = CliRunner().invoke(
        main, ["tokenizer", "train", *inputs, "--vocab-size", "36", "--output", str(output)], input="It jumps!\n"
    )
    assert result.exit_code == 0, result.stderr
    assert "1 rows are not in en and were left out" in result.stderr
    assert "36 pieces from 3 lines, normaliser en-1" in result.stderr
    assert Tokenizer(output).decode(Tokenizer(output).encode("the lazy fox jumps")) == "the lazy fox jumps"


def test_command_with_a_bad_row_does_the_rest_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "a.wav", "duration": 1, "text": "hello"}\n{bad\n')
    output = tmp_path / "t.model"
    result = CliRunner().invoke(
        main, ["tokenizer", "train", str(tmp_path / "m.jsonl"), "--vocab-size", "7", "--output", str(output)]
    )
    assert result.exit_code == 1
    assert "m.jsonl:2: not JSON" in result.stderr
    assert output.exists()


def test_command_errors(tmp_path: Path) -> None:
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9\n")
    missing = CliRunner().invoke(main, ["tokenizer", "train", str(tmp_path / "no.txt"), "--output", "t.model"])
    assert missing.exit_code == 2
    encoded = CliRunner().invoke(
        main, ["tokenizer", "train", str(tmp_path / "latin1.txt"), "--output", str(tmp_path / "t.model")]
    )
    assert encoded.exit_code == 1
    assert "latin1.txt: expected UTF-8 text" in encoded.stderr
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"hello\n" * 1000)[:-9])
    cut = CliRunner().invoke(main, ["tokenizer", "train", str(tmp_path / "cut.txt.gz"), "--output", "t.model"])
    assert cut.exit_code == 1
    assert "cut.txt.gz: a damaged or truncated .gz file" in cut.stderr


def test_help_shows_an_example() -> None:
    assert "silero-like tokenizer train" in CliRunner().invoke(main, ["tokenizer", "train", "--help"]).stdout
