"""Time Swin-T in ONNX Runtime on the CPU, in fp32 and in int8: a peer of `swint bench`.

    python3 -m venv venv && venv/bin/pip install numpy onnx onnxruntime
    venv/bin/python bench/peers/onnx_runtime.py --threads 2

The graph is what exporters make of timm's swin_tiny_patch4_window7_224, with random weights. int8
is static QDQ quantization: u8 activations, s8 weights per output channel (of 7 bits: without VNNI,
x86 sums of 8-bit products saturate), min-max ranges of random pictures. "default" quantizes what
quantize_static does by itself, "products" convolution and matrix products only, to float outputs.
"""
import argparse
import json
import logging
import os
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

SIZE, PATCH, WINDOW, EMBED, MLP_RATIO, CLASSES = 224, 4, 7, 96, 4, 1000
DEPTHS, HEADS, PARAMETERS = (2, 2, 6, 2), (3, 6, 12, 24), 28_288_354
INPUT = "pixel_values"


class Graph:
    """Nodes and initializers; methods that add a node return the name of its output."""

    def __init__(self):
        self.rng = np.random.default_rng(1)
        self.nodes, self.initializers, self.parameters = [], [], 0

    def op(self, kind, *inputs, outputs=1, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        names = [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def const(self, value):
        value, name = np.asarray(value), f"const_{len(self.initializers)}"
        value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64)
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape, scale=0.02, mean=0.0):
        self.parameters += int(np.prod(shape))
        return self.const(mean + scale * self.rng.standard_normal(shape))

    def linear(self, x, inputs, outputs, bias=True):
        y = self.op("MatMul", x, self.weight(inputs, outputs, scale=inputs**-0.5))
        return self.op("Add", self.weight(outputs), y) if bias else y

    def norm(self, x, channels):
        affine = self.weight(channels, mean=1.0), self.weight(channels)
        return self.op("LayerNormalization", x, *affine, axis=-1, epsilon=1e-5)

    def reshape(self, x, *shape):
        return self.op("Reshape", x, self.const(shape))

    def transpose(self, x, *perm):
        return self.op("Transpose", x, perm=perm)

    def roll(self, x, shift, side):
        """torch.roll of [batch, side, side, channels] by `shift` along both sides."""
        for axis in (1, 2) if shift else ():
            bounds = (side - shift % side, side), (0, side - shift % side)
            parts = [self.op("Slice", x, *(self.const([v]) for v in (*b, axis))) for b in bounds]
            x = self.op("Concat", *parts, axis=axis)
        return x


def relative_index():
    """For every pair of positions in a window, the row of the bias table."""
    row, column = np.divmod(np.arange(WINDOW**2), WINDOW)
    row, column = (v[:, None] - v + WINDOW - 1 for v in (row, column))
    return row * (2 * WINDOW - 1) + column


def shift_mask(side, shift):
    """For every window of the rolled map, -100 between positions that were no neighbours."""
    count, band = side // WINDOW, np.digitize(np.arange(side), [side - WINDOW, side - shift])
    region = (3 * band[:, None] + band).reshape(count, WINDOW, count, WINDOW)
    region = region.transpose(0, 2, 1, 3).reshape(-1, WINDOW**2)
    return np.where(region[:, :, None] == region[:, None], 0.0, -100.0)[None, :, None]


def block(g, x, side, channels, heads, shift):
    """One transformer block; x is [batch, side, side, channels]."""
    count, area, head = side // WINDOW, WINDOW**2, channels // heads
    y = g.roll(g.norm(x, channels), -shift, side)
    y = g.transpose(g.reshape(y, -1, count, WINDOW, count, WINDOW, channels), 0, 1, 3, 2, 4, 5)
    qkv = g.linear(g.reshape(y, -1, area, channels), channels, 3 * channels)
    qkv = g.transpose(g.reshape(qkv, -1, area, 3, heads, head), 2, 0, 3, 1, 4)
    q, k, v = (g.op("Squeeze", y, g.const([0])) for y in g.op("Split", qkv, outputs=3, axis=0))
    q = g.op("Mul", q, g.const(head**-0.5))
    scores = g.op("MatMul", q, g.transpose(k, 0, 1, 3, 2))
    table = g.weight((2 * WINDOW - 1) ** 2, heads)
    bias = g.op("Gather", table, g.const(relative_index().ravel()))
    bias = g.transpose(g.reshape(bias, area, area, heads), 2, 0, 1)
    scores = g.op("Add", scores, g.op("Unsqueeze", bias, g.const([0])))
    if shift:
        scores = g.reshape(scores, -1, count**2, heads, area, area)
        scores = g.op("Add", scores, g.const(shift_mask(side, shift)))
        scores = g.reshape(scores, -1, heads, area, area)
    y = g.transpose(g.op("MatMul", g.op("Softmax", scores, axis=-1), v), 0, 2, 1, 3)
    y = g.linear(g.reshape(y, -1, area, channels), channels, channels)
    y = g.transpose(g.reshape(y, -1, count, count, WINDOW, WINDOW, channels), 0, 1, 3, 2, 4, 5)
    x = g.op("Add", x, g.roll(g.reshape(y, -1, side, side, channels), shift, side))
    y = g.linear(g.norm(x, channels), channels, MLP_RATIO * channels)
    erf = g.op("Erf", g.op("Div", y, g.const(2**0.5)))
    y = g.op("Mul", g.op("Mul", y, g.op("Add", erf, g.const(1.0))), g.const(0.5))
    return g.op("Add", x, g.linear(y, MLP_RATIO * channels, channels))


def swin(batch):
    """Swin-T as an ONNX model."""
    g, side, channels = Graph(), SIZE // PATCH, EMBED
    kernel = g.weight(EMBED, 3, PATCH, PATCH, scale=(3 * PATCH**2) ** -0.5)
    x = g.op("Conv", INPUT, kernel, g.weight(EMBED), strides=[PATCH, PATCH])
    x = g.norm(g.transpose(x, 0, 2, 3, 1), EMBED)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS)):
        if stage:
            side //= 2
            x = g.transpose(g.reshape(x, -1, side, 2, side, 2, channels), 0, 1, 3, 4, 2, 5)
            x = g.norm(g.reshape(x, -1, side, side, 4 * channels), 4 * channels)
            x, channels = g.linear(x, 4 * channels, 2 * channels, bias=False), 2 * channels
        for i in range(depth):
            x = block(g, x, side, channels, heads, WINDOW // 2 if i % 2 and side > WINDOW else 0)
    x = g.op("ReduceMean", g.norm(x, channels), axes=[1, 2], keepdims=0)
    x = g.linear(x, channels, CLASSES)
    assert g.parameters == PARAMETERS, f"{g.parameters} parameters"
    shapes = {INPUT: [batch, 3, SIZE, SIZE], x: [batch, CLASSES]}
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(g.nodes, "swin_tiny", ends[:1], ends[1:], g.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Pictures(CalibrationDataReader):
    def __init__(self, pictures):
        self.inputs = ({INPUT: picture} for picture in pictures)

    def get_next(self):
        return next(self.inputs, None)


def measure(path, picture, threads, runs=20, seconds=3.0):
    """The median, minimum and 90th percentile in milliseconds, the number of runs; logits."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for _ in range(5):
        logits, = session.run(None, {INPUT: picture})
    assert logits.shape == (len(picture), CLASSES) and np.isfinite(logits).all()
    times = []
    while len(times) < runs or sum(times) < 1e3 * seconds:
        start = time.perf_counter()
        session.run(None, {INPUT: picture})
        times.append(1e3 * (time.perf_counter() - start))
    median, p90 = np.percentile(times, [50, 90])
    return {"median": median, "min": min(times), "p90": p90, "runs": len(times)}, logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    shape = 5, args.batch, 3, SIZE, SIZE
    picture, *calibration = np.random.default_rng(0).standard_normal(shape, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        floats, prepared, quantized = (f"{folder}/{i}.onnx" for i in range(3))
        onnx.save(swin(args.batch), floats)
        quant_pre_process(floats, prepared, skip_symbolic_shape=True)
        times, exact = measure(floats, picture, args.threads)
        rows = {"fp32": times}
        for name, kinds in ("default", None), ("products", ["Conv", "Gemm", "MatMul"]):
            quantize_static(
                prepared, quantized, Pictures(calibration), op_types_to_quantize=kinds,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                per_channel=True, reduce_range=True,
                extra_options={"OpTypesToExcludeOutputQuantization": kinds or []})
            rows[f"int8 {name}"], logits = measure(quantized, picture, args.threads)
            assert np.linalg.norm(logits - exact) < 0.2 * np.linalg.norm(exact), name
    setup = {"onnxruntime": ort.__version__, "batch": args.batch, "threads": args.threads}
    if args.json:
        print(json.dumps({**setup, "ms": rows}, indent=2))
        return
    print(*(f"{key} {value}" for key, value in setup.items()), sep=", ")
    print(f"{'ms':14}", *(f"{key:>8}" for key in rows["fp32"]))
    for name, row in rows.items():
        print(f"{name:14}", *(f"{value:8.4g}" for value in row.values()))


if __name__ == "__main__":
    main()
