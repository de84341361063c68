"""A language model that needs no file, and pieces to write its words with."""

PIECES = ("▁a", "b", "▁")  # words: a, ab, abb, b, bb, ...; the mark alone may come twice or last


class Bigrams:
    """Words of "a", "ab", "b", "明", "明b": ln p of a word depends on the one before; so does the state."""

    known = ("a", "ab", "b", "明")

    def begin(self) -> str:
        return "<s>"

    def empty(self) -> str:
        return ""

    def score(self, state: object, word: str) -> tuple[float, str]:
        word = word if word in (*self.known, "</s>") else "<unk>"
        return -0.5 - sum(map(ord, f"{state}>{word}")) % 17 / 5, word
