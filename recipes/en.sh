#!/bin/sh
# The bundled English model, from the corpus, in one command: teacher, student, a larger student, int8, search.
#
#   pip install '.[train]' 'moonshine-voice==0.0.49'
#   sh recipes/en.sh CORPUS runs/en
#
# Some five hours on one core: half an hour, two and a half, and less than two for the first three; not yet run in one go.
# A step that was broken off goes on when it is run again.
# The bundled weights were made step by step with the same settings but for what docs/experiments.md tells.
set -eu
corpus=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
export SILERO_LIKE_CORPUS="$corpus"
lm=silero_like/models/en/lm.bin # docs/language-model.md tells how it is made
speech="accented_read.train.jsonl, audiobook.train.jsonl, command_grammar.train.jsonl, commonvoice.train.jsonl"
speech="$speech, digits_8k.train.jsonl, read_prompts.train.jsonl, spelling_digits.train.jsonl, telephone_prompts.train.jsonl"
speech="[$speech, wakewords.train.jsonl, $out/teacher/pseudo.jsonl]"

test -f "$out/teacher/targets.safetensors" ||
  python -m train.moonshine recipes/en-tiny.yaml --out "$out/teacher" --passes 9 --lm "$lm" \
    --unlabelled "$corpus/unlabelled/audiobook.jsonl" "$corpus/unlabelled/mixed.jsonl"

silero-like train recipes/en-tiny.yaml --set output_dir="$out/tiny" --set data.train="$speech" \
  --set distill.targets="$out/teacher/targets.safetensors" --set tokenizer.path="$out/teacher/tokenizer.model"

silero-like finetune "$out/tiny/best.safetensors" recipes/en-tiny.yaml --set output_dir="$out/grown" --set name=en \
  --set data.train="$speech" --set distill.targets="$out/teacher/targets.safetensors" \
  --set finetune.add_conv_blocks=2 --set finetune.add_attention_blocks=2 \
  --set optimizer.total_steps=23000 --set optimizer.peak_lr=0.0018 --set sampling.temperature=1.6 \
  --set augment.noise_probability=0.4 --set augment.noise_snr_db="[5, 30]" --set augment.reverb_probability=0.15 \
  --set augment.telephone_probability=0.25 --set augment.codec_probability=0.08 --set augment.clip_probability=0.03

test -d "$out/bundle" ||
  silero-like export "$out/grown/best.safetensors" "$out/bundle" --quantize int8 --weights int8

for domain in accented_read audiobook commonvoice digits_8k spelling_digits; do
  set -- "$@" "$corpus/$domain.dev.jsonl"
done
shift 2
silero-like lm tune "$@" --model "$out/bundle" --lm "$lm" --save
