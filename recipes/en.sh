#!/bin/sh
# The bundled English models, from the corpus, in one command: teacher, student, a larger student twice, mean, int8, search;
# then en-tiny: a quarter of it, by pruning.
#
#   pip install '.[train]' 'moonshine-voice==0.0.49'
#   sh recipes/en.sh CORPUS runs/en
#
# Some nine hours on one core: half an hour, two and a half, less than two, one and a half, and two and a half for en-tiny; with a
# hundredth of the speech and of the steps all of it was run, broken off once; in full only leg by leg.
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

on() { # START FOLDER STEPS PEAK_LR TEMPERATURE [--set ...]
  start=$1 folder=$2 steps=$3 rate=$4 temperature=$5
  shift 5
  silero-like finetune "$start" recipes/en-tiny.yaml --set output_dir="$out/$folder" --set name=en \
    --set data.train="$speech" --set distill.targets="$out/teacher/targets.safetensors" \
    --set optimizer.total_steps="$steps" --set optimizer.peak_lr="$rate" --set sampling.temperature="$temperature" "$@"
}
noisy() { # TELEPHONE, then as `on`
  telephone=$1
  shift
  on "$@" --set augment.noise_probability=0.4 --set augment.noise_snr_db="[5, 30]" --set augment.reverb_probability=0.15 \
    --set augment.telephone_probability="$telephone" --set augment.codec_probability=0.08 --set augment.clip_probability=0.03
}
noisy 0.25 "$out/tiny/best.safetensors" grown 23000 0.0018 1.6 --set finetune.add_conv_blocks=2 --set finetune.add_attention_blocks=2
noisy 0.3 "$out/grown/best.safetensors" on 16000 0.0012 1.4 --set optimizer.warmup_steps=300 --set loop.keep_every=4000

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

silero-like prune "$out/bundle" recipes/en-tiny.yaml --width 144 --expansion 3 --heads 2 --set output_dir="$out/pruned" \
  --set data.train="$speech" --set distill.targets="$out/teacher/targets.safetensors" --set distill.weight=0.7 \
  --set optimizer.total_steps=40000 --set optimizer.peak_lr=0.003 --set optimizer.warmup_steps=300 \
  --set sampling.temperature=1.4 --set augment.strength=0.2 --set model.overrides.dropout=0.03 --set loop.bundle=false \
  --set name=en-tiny --set loop.keep_every=2000

tiny() { # on or noisy, and its arguments
  "$@" --set name=en-tiny --set distill.weight=0.7 --set optimizer.warmup_steps=300 --set loop.bundle=false \
    --set model.overrides.dropout=0.06
}
tiny noisy 0.25 "$out/pruned/step-30000.safetensors" pruned-noise 16800 0.0015 1.4 --set augment.strength=0.35
tiny on "$out/pruned/step-40000.safetensors" pruned-on 8800 0.0015 1.4 --set augment.strength=0.25

test -f "$out/en-tiny.safetensors" ||
  python -m train.average "$out/en-tiny.safetensors" "$out/pruned/step-26000.safetensors" \
    "$out/pruned/step-40000.safetensors" "$out/pruned-noise/last.safetensors" "$out/pruned-on/last.safetensors"

test -d "$out/tiny-bundle" || silero-like export "$out/en-tiny.safetensors" "$out/tiny-bundle" --quantize int8
silero-like lm tune "$@" --model "$out/tiny-bundle" --lm silero_like/models/en-tiny/lm.bin --save
