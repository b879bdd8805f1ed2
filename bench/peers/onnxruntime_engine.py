"""ONNX Runtime: fp32, and int8 on the CPU by its own quantizer.

int8 has u8 activations and s8 weights per output channel. Without VNNI x86 sums of 8-bit products
saturate, so weights then are of 7 bits. Static ranges are min-max.

static-qdq            all that quantize_static quantizes by itself
static-qdq-products   convolution and matrix products only, to float outputs
static-qdq-linears    the same without the two products of attention
dynamic               linears, with ranges found at every inference
"""
import contextlib
import logging
import time

import onnxruntime as ort

from models import INPUT
from peers import Unavailable
from report import cpu

PRODUCTS = ["Conv", "Gemm", "MatMul"]


def reduce_range():
    """Whether weights must be of 7 bits."""
    features = cpu()[1]
    return "avx2" in features and not {"avx_vnni", "avx512_vnni"} & set(features)


def prepare(model, variant, precision):
    """The path of the graph of a variant."""
    floats = model.onnx()
    if precision == "fp32":
        return floats
    name = f"onnxruntime-{variant}-{7 if reduce_range() else 8}bit.onnx"
    return str(model.kept(name, lambda path: quantize(model, floats, str(path), variant)))


def quantize(model, floats, path, variant):
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.disable(logging.WARNING)
    prepared = str(model.kept("onnxruntime-prepared.onnx", lambda part: quant_pre_process(
        floats, str(part), skip_symbolic_shape=True)))
    common = {"weight_type": q.QuantType.QInt8, "per_channel": True, "reduce_range": reduce_range()}
    if variant == "dynamic":
        q.quantize_dynamic(prepared, path, op_types_to_quantize=["Gemm", "MatMul"], **common,
                           extra_options={"MatMulConstBOnly": True})
        return
    kinds = None if variant == "static-qdq" else PRODUCTS
    q.quantize_static(
        prepared, path, Reader(model.calibration()), op_types_to_quantize=kinds,
        nodes_to_exclude=attention(prepared) if variant == "static-qdq-linears" else None,
        activation_type=q.QuantType.QUInt8, **common,
        extra_options={"OpTypesToExcludeOutputQuantization": kinds or []})


def attention(path):
    """The names of the products of two activations."""
    import onnx

    graph = onnx.load(path).graph
    consts = {const.name for const in graph.initializer}
    return [n.name for n in graph.node if n.op_type == "MatMul" and n.input[1] not in consts]


class Reader:
    """A CalibrationDataReader."""

    def __init__(self, inputs):
        self.inputs = ({INPUT: inputs[i:i + 1]} for i in range(len(inputs)))

    def get_next(self):
        return next(self.inputs, None)


def make(model, options, variant, precision):
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[options.device]
    if options.device == "cuda":
        # The wheel brings no CUDA libraries of its own: those of PyTorch.
        with contextlib.suppress(AttributeError):
            ort.preload_dlls()
    if provider not in ort.get_available_providers():
        raise Unavailable(f"this ONNX Runtime has no {provider}: install onnxruntime-gpu instead")
    engine = Engine(prepare(model, variant, precision), options, provider)
    if precision == "int8":
        engine.variant = f"{variant}, {7 if reduce_range() else 8}-bit weights"
    return engine


class Engine:
    version, compile_ms, split = ort.__version__, None, None

    def __init__(self, path, options, provider):
        self.path, self.options, self.provider, self.size = path, options, provider, None

    def feed(self, inputs):
        if self.size != len(inputs):
            self._load(len(inputs))
        self.inputs = {INPUT: inputs}

    def _load(self, batch):
        start = time.perf_counter()
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = self.options.threads
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.add_free_dimension_override_by_name("batch", batch)
        settings.log_severity_level = 3
        # fp32 is not TF32, as it is not in PyTorch.
        choices = {"use_tf32": 0} if self.options.device == "cuda" else {}
        self.session = ort.InferenceSession(self.path, settings, providers=[(self.provider, choices)])
        if self.session.get_providers()[0] != self.provider:
            raise Unavailable(f"ONNX Runtime could not start its {self.provider}")
        self.size, self.load_ms = batch, 1e3 * (time.perf_counter() - start)

    def run(self):
        return self.session.run(None, self.inputs)[0]
