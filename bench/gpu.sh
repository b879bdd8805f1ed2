#!/usr/bin/env bash
# What is to be measured on a GPU, in two steps: the machine with the GPU may have no compiler, and little time.
#
#     bash bench/gpu.sh prepare FOLDER [NAME...]      # builds swint, compiles the models and their kernels; then take FOLDER there
#     bash FOLDER/gpu.sh measure OUT [SECONDS]        # as much as so many seconds allow (600), the most wanted first
#
# A name is a published model's (the tiny ones of both versions if none is given), with random weights; the bundled model comes with them. OUT has, for
# each step, what it printed and a line in `steps.txt`: exit code, seconds, command. A step that is cut off is 124 there.
set -euo pipefail

batches=1,8,32

prepare() {
  local out=${1:?a folder}
  shift
  [ $# -gt 0 ] || set -- swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
  cd "$(dirname "$0")/.."
  mkdir -p "$out"/models
  out=$(cd "$out" && pwd)
  cargo build --release --locked --no-default-features --bin swint
  # Kernels are cached by the program that made them: its size and time, which archives keep.
  cp --preserve=timestamps "${CARGO_TARGET_DIR:-target}"/release/swint "$out"/swint
  strip "$out"/swint
  touch -d @1700000000 "$out"/swint
  cp bench/gpu.sh "$out"/gpu.sh
  cp -r examples/cifar10/images "$out"/pictures
  local calibrated=(--precision int8 --calib examples/cifar10/images)
  "$out"/swint compile examples/cifar10/swin.toml --weights examples/cifar10/model.safetensors "${calibrated[@]}" \
    -o "$out"/models/bundled.swint
  for name in "$@"; do
    "$out"/swint compile "$name" --random-weights 1 "${calibrated[@]}" --calib-limit 1 -o "$out/models/$name.swint"
  done
  # Their PTX, of which the driver makes machine code.
  for model in "$out"/models/*.swint; do
    for batch in ${batches//,/ }; do
      SWINT_CACHE=$out/cache "$out"/swint sass "$model" --target sm_90a --batch "$batch" --fail-on-spill --fail-on-float
    done
  done
}

measure() {
  local here out=${1:?a folder for results} end
  end=$(($(date +%s) + ${2:-600}))
  here=$(cd "$(dirname "$0")" && pwd)
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  export SWINT_CACHE=$here/cache
  cd "$here"
  # Name, most seconds, arguments.
  step() {
    local name=$1 most=$2 left=$((end - $(date +%s))) began code=0
    shift 2
    [ "$left" -gt 5 ] || return 0
    began=$(date +%s)
    timeout $((left < most ? left : most)) "$@" >"$out/$name.txt" 2>&1 || code=$?
    echo "$code $(($(date +%s) - began)) s $*" | tee -a "$out"/steps.txt
  }
  step doctor 60 ./swint doctor
  step verify-bundled 60 ./swint verify models/bundled.swint --device cuda
  for model in models/swin*.swint; do
    local name
    name=$(basename "$model" .swint)
    step "verify-$name" 120 ./swint verify "$model" --device cuda
    step "device-$name" 120 ./swint bench "$model" --device cuda --batch $batches --clock device --profile --min-time 0.4 -o "$out/$name-device.json"
    step "host-$name" 60 ./swint bench "$model" --device cuda --batch $batches --min-time 0.4 -o "$out/$name-host.json"
    step "baseline-$name" 180 ./swint bench baseline "$name" --random-weights 1 --calib pictures --calib-limit 1 --target sm_90 --device cuda \
      --batch 1,32 --clock device --min-time 0.3 -o "$out/$name-baseline.json"
    for batch in 1 32; do
      step "tune-$name-$batch" 240 ./swint tune "$model" --device cuda --batch "$batch" --options 8 -o "$out/$name-tuned-$batch.json"
    done
    step "tuned-$name" 60 ./swint bench "$model" --device cuda --batch 1,32 --clock device --profile --min-time 0.4 -o "$out/$name-tuned.json"
    if command -v compute-sanitizer >/dev/null; then
      for tool in memcheck racecheck synccheck; do
        step "$tool-$name" 60 compute-sanitizer --tool "$tool" ./swint verify "$model" --device cuda
      done
    fi
  done
}

case ${1:-} in
  prepare | measure) "$@" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
