#!/bin/sh
# The bundled English model, from the corpus, in one command: teacher, student, a larger student twice, mean, int8, search.
#
#   pip install '.[train]' 'moonshine-voice==0.0.49'
#   sh recipes/en.sh CORPUS runs/en
#
# Some six and a half hours on one core: half an hour, two and a half, less than two, one and a half; not yet run in one go.
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

longer() { # START FOLDER STEPS PEAK_LR TELEPHONE TEMPERATURE [--set ...]
  start=$1 folder=$2 steps=$3 rate=$4 telephone=$5 temperature=$6
  shift 6
  silero-like finetune "$start" recipes/en-tiny.yaml --set output_dir="$out/$folder" --set name=en \
    --set data.train="$speech" --set distill.targets="$out/teacher/targets.safetensors" \
    --set optimizer.total_steps="$steps" --set optimizer.peak_lr="$rate" --set sampling.temperature="$temperature" \
    --set augment.noise_probability=0.4 --set augment.noise_snr_db="[5, 30]" --set augment.reverb_probability=0.15 \
    --set augment.telephone_probability="$telephone" --set augment.codec_probability=0.08 \
    --set augment.clip_probability=0.03 "$@"
}
longer "$out/tiny/best.safetensors" grown 23000 0.0018 0.25 1.6 --set finetune.add_conv_blocks=2 --set finetune.add_attention_blocks=2
longer "$out/grown/best.safetensors" on 16000 0.0012 0.3 1.4 --set optimizer.warmup_steps=300 --set loop.keep_every=4000

test -f "$out/en.safetensors" ||
  python -m train.average "$out/en.safetensors" "$out/grown/best.safetensors" \
    "$out/on/step-8000.safetensors" "$out/on/step-12000.safetensors" "$out/on/step-16000.safetensors"

test -d "$out/bundle" ||
  silero-like export "$out/en.safetensors" "$out/bundle" --quantize int8 --weights int8

for domain in accented_read audiobook commonvoice digits_8k spelling_digits; do
  set -- "$@" "$corpus/$domain.dev.jsonl"
done
shift 2
silero-like lm tune "$@" --model "$out/bundle" --lm "$lm" --save
