"""`python -m train RECIPE [--set key=value ...]`, also under `torchrun --nproc-per-node 2 -m train RECIPE`."""

from silero_like.cli.train import train

train()
