"""The processes of a run: alone, or as many as torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from silero_like.errors import ConfigError, SileroLikeError

SAME = "start all of them with one recipe, the same data and one output_dir on a shared disk"


class Group:
    """Rank, world size and device of this process; NCCL on GPUs, gloo on CPUs.

    All methods but `close` wait for all processes, and raise SileroLikeError when one of them has ended or is silent.
    """

    def __init__(self, timeout_s: float = 600.0) -> None:
        """Join the other processes; `timeout_s` is how long one of them may be silent."""
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(self.device)
        if self.world_size > 1:
            with self._others():
                dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(seconds=timeout_s))

    def average_gradients(self, parameters: Iterable[Tensor], numbers: Sequence[float]) -> list[float]:
        """Average the gradients over all processes, in place, and return the sums of a few numbers.

        One message carries everything. It is sent after the whole backward pass, not during it, so that a process
        may split a batch that does not fit its memory without the others noticing.
        """
        if self.world_size == 1:
            return list(numbers)
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        extra = torch.tensor(list(numbers), dtype=torch.float32, device=self.device)
        message = torch.cat([*(gradient.flatten() for gradient in gradients), extra])
        with self._others():
            dist.all_reduce(message)
        sums = message[-len(numbers) :].tolist() if numbers else []
        message /= self.world_size
        parts = torch.split(message, [*(gradient.numel() for gradient in gradients), len(numbers)])
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=False)])
        return sums

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with self._others():
            dist.all_gather_object(values, value)
        return values

    def agree(self, cure: str, **values: Any) -> None:
        """Look whether all processes begin with the same values.

        Raises:
            ConfigError: they do not; all processes raise it, so that none waits.
        """
        ranks = self.gather(values)
        for name in values:
            found = [rank[name] for rank in ranks]
            if any(value != found[0] for value in found):
                what = name.replace("_", " ")
                raise ConfigError(f"the processes of this run differ in {what} ({', '.join(map(str, found))}): {cure}")

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the values of the first one, in place."""
        if self.world_size > 1:
            with self._others():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            with self._others():
                dist.barrier()

    def close(self) -> None:
        """Leave the group."""
        if self.world_size > 1:
            dist.destroy_process_group()

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Say in one line that another process failed or fell silent; it has said why itself, if it could."""
        try:
            yield
        except RuntimeError as error:  # "[.../pair.cc:537] Read error [127.0.0.1]:1271: Connection reset. This is ..."
            reason = str(error).splitlines()[0].split(". ")[0].split("] ")[-1]
            raise SileroLikeError(
                f"process {self.rank} of {self.world_size} cannot reach the others ({reason}): "
                "see what they said last; the same command goes on from the last checkpoint"
            ) from error
