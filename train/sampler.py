"""Which utterances make a batch: a pure function of seed, epoch, rank and world size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Draw:
    """One utterance of a batch and how fast it is played."""

    index: int
    speed: float


def epoch_batches(
    durations_s: npt.NDArray[np.float64],
    *,
    batch_s: float,
    speeds: list[float],
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[Draw]]:
    """Cut one pass over the data into batches of similar length and bounded padded duration.

    Every utterance is drawn once; its speed is drawn anew each epoch. Lengths are jittered by 10 % before bucketing, so
    that neighbours change. All ranks get the same number of batches; what does not divide is dropped for this epoch.

    Args:
        durations_s: `(n,)` seconds of each utterance.
        batch_s: bound on batch size x longest utterance, in seconds after the speed change.
        speeds: factors drawn with equal probability.

    Returns:
        The batches of this rank, in order.
    """
    generator = np.random.default_rng((seed, epoch))
    drawn_speeds = generator.choice(np.asarray(speeds), size=len(durations_s))
    played_s = durations_s / drawn_speeds
    order = np.argsort(played_s * generator.uniform(0.9, 1.1, size=len(durations_s)), kind="stable")
    batches: list[list[Draw]] = []
    longest = 0.0
    for index in order:
        longest = max(longest, float(played_s[index]))
        if not batches or longest * (len(batches[-1]) + 1) > batch_s:
            batches.append([])
            longest = float(played_s[index])
        batches[-1].append(Draw(int(index), float(drawn_speeds[index])))
    shuffled = [batches[i] for i in generator.permutation(len(batches))]
    usable = len(shuffled) - len(shuffled) % world_size
    return shuffled[rank:usable:world_size]
