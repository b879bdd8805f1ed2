"""TensorRT on CUDA, fp16 and int8, as a CUDA graph.

It needs the package `tensorrt`, which requirements.txt leaves out. The network is strongly typed: what
the ONNX graph says is what runs. int8 is symmetric, as TensorRT demands, s8 activations and weights per
channel, of convolution and matrix products; the rest is fp16.
"""
import time

import numpy as np
import torch

from models import INPUT, OUTPUT
from onnxruntime_engine import PRODUCTS, Reader
from peers import Unavailable


def prepare(model, variant, precision):
    """The path of the graph of a variant."""
    floats = model.onnx(half=True)
    if precision == "fp16":
        return floats
    return str(model.kept("tensorrt-int8.onnx", lambda path: quantize(model, floats, str(path))))


def quantize(model, floats, path):
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = str(model.kept("tensorrt-prepared.onnx", lambda part: quant_pre_process(
        floats, str(part), skip_symbolic_shape=True, skip_optimization=True)))
    q.quantize_static(
        prepared, path, Reader(model.calibration().astype(np.float16)), op_types_to_quantize=PRODUCTS,
        activation_type=q.QuantType.QInt8, weight_type=q.QuantType.QInt8, per_channel=True,
        extra_options={
            "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": PRODUCTS})


def make(model, options, variant, precision):
    try:
        import tensorrt
    except ImportError as error:
        raise Unavailable(f"{error}: pip install tensorrt") from None
    if not torch.cuda.is_available():
        raise Unavailable("PyTorch finds no CUDA device")
    return Engine(tensorrt, prepare(model, variant, precision))


class Engine:
    load_ms, size = None, None

    def __init__(self, trt, path):
        self.trt, self.path, self.version = trt, path, trt.__version__

    def feed(self, inputs):
        host = torch.from_numpy(inputs).half()
        if self.size != len(inputs):
            self._build(host)
        self.host = host.pin_memory()

    def _build(self, example):
        trt, start = self.trt, time.perf_counter()
        logger = trt.Logger(trt.Logger.WARNING)
        builder = trt.Builder(logger)
        # Networks of later versions have no other way, and no flag.
        typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(self.path):
            raise RuntimeError(f"TensorRT cannot read {self.path}: {parser.get_error(0)}")
        config, profile = builder.create_builder_config(), builder.create_optimization_profile()
        profile.set_shape(INPUT, *[tuple(example.shape)] * 3)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeError("TensorRT could not build the network")
        self.runtime = trt.Runtime(logger)
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        self.context = self.engine.create_execution_context()
        self.context.set_input_shape(INPUT, tuple(example.shape))
        self.inputs = torch.zeros_like(example, device="cuda")
        shape = tuple(self.context.get_tensor_shape(OUTPUT))
        self.outputs = torch.empty(shape, dtype=torch.half, device="cuda")
        self.logits = torch.empty(shape, dtype=torch.half, pin_memory=True)
        self.context.set_tensor_address(INPUT, self.inputs.data_ptr())
        self.context.set_tensor_address(OUTPUT, self.outputs.data_ptr())
        self.stream = torch.cuda.Stream()
        with torch.cuda.stream(self.stream):
            self.context.execute_async_v3(self.stream.cuda_stream)
        self.stream.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.context.execute_async_v3(self.stream.cuda_stream)
        self.size, self.compile_ms = len(example), 1e3 * (time.perf_counter() - start)

    def run(self):
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        with torch.cuda.stream(self.stream):
            self.events[0].record()
            self.inputs.copy_(self.host, non_blocking=True)
            self.events[1].record()
            self.graph.replay()
            self.events[2].record()
            self.logits.copy_(self.outputs, non_blocking=True)
            self.events[3].record()
        self.stream.synchronize()
        return self.logits.float().numpy()

    def split(self):
        """Of the device's clock."""
        times = [a.elapsed_time(b) for a, b in zip(self.events, self.events[1:])]
        return dict(zip(("copy_in", "compute", "copy_out"), times))
