#!/bin/sh
# The table of bench/README.md's "Distillation": every schedule on CIFAR-10 with the bundled model as teacher, then int8, then
# quantization-aware training. About 30 minutes on two cores. Usage: sh bench/distill.sh FOLDER
set -e
folder=${1:?a folder for the results}
model=examples/cifar10
mkdir -p "$folder"
cargo build --release --quiet
swint=target/release/swint
$swint data fetch cifar10
int8() { # CHECKPOINT OUTPUT
    $swint compile $model/swin.toml --weights "$1" --precision int8 --activation relu --calib cifar10 -o "$2" >"$2.txt"
    $swint eval "$2" --data cifar10
}
echo "teacher"
$swint compile $model/swin.toml --weights $model/model.safetensors -o "$folder/teacher.swint" >"$folder/teacher.txt"
$swint eval "$folder/teacher.swint" --data cifar10
echo "ReLU, no training"
$swint compile $model/swin.toml --weights $model/model.safetensors --activation relu -o "$folder/relu.swint" >"$folder/relu.txt"
$swint eval "$folder/relu.swint" --data cifar10
for schedule in all anneal stage block; do
    echo "$schedule: in floats, then int8 after training"
    $swint distill $model/swin.toml --teacher $model/model.safetensors --data cifar10 --schedule $schedule --epochs 1 \
        -o "$folder/$schedule.safetensors"
    int8 "$folder/$schedule.safetensors" "$folder/$schedule.swint"
done
echo "all: int8 in training"
$swint distill $model/swin.toml --teacher $model/model.safetensors --student "$folder/all.safetensors" --data cifar10 --quantize \
    --lr 1e-4 --steps 200 -o "$folder/quantized.safetensors"
$swint compile $model/swin.toml --weights "$folder/quantized.safetensors" --precision int8 --activation relu --equalize none \
    --calib-stats "$folder/quantized.scales.safetensors" -o "$folder/quantized.swint" >"$folder/quantized.txt"
$swint eval "$folder/quantized.swint" --data cifar10
