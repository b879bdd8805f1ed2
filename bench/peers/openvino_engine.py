"""OpenVINO on the CPU: fp32, bf16, and int8 by NNCF's post-training quantization.

nncf               what it does by default
nncf-transformer   as it does to transformers, without SmoothQuant: with it the bundled model's logits
                   had 11.5 dB to PyTorch's, without it 29.5 dB
"""
import logging
import time

import openvino as ov

from models import INPUT


def prepare(model, variant, precision):
    """The path of the model of a variant."""
    floats = model.onnx()
    if precision != "int8":
        return floats
    xml = model.folder / f"openvino-{variant}.xml"
    if not xml.exists():
        quantize(model, floats, xml, variant)
    return str(xml)


def quantize(model, floats, xml, variant):
    import nncf

    logging.disable(logging.WARNING)
    inputs = model.calibration()
    dataset = nncf.Dataset([inputs[i:i + 1] for i in range(len(inputs))], lambda x: {INPUT: x})
    choices = {}
    if variant == "nncf-transformer":
        rough = nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1))
        choices = {"model_type": nncf.ModelType.TRANSFORMER, "advanced_parameters": rough}
    quantized = nncf.quantize(
        ov.Core().read_model(floats), dataset, subset_size=len(inputs),
        preset=nncf.QuantizationPreset.PERFORMANCE, **choices)
    # The .bin goes first: a folder with the .xml is whole.
    part = xml.with_name(f"part-{xml.name}")
    ov.save_model(quantized, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(xml.with_suffix(".bin"))
    part.replace(xml)


def make(model, options, variant, precision):
    return Engine(prepare(model, variant, precision), options, variant, precision)


class Engine:
    version, split = ov.__version__.partition("-")[0], None

    def __init__(self, path, options, variant, precision):
        start = time.perf_counter()
        self.core = ov.Core()
        self.model = self.core.read_model(path)
        self.load_ms = 1e3 * (time.perf_counter() - start)
        self.kind, self.size = variant, None
        self.settings = {
            "INFERENCE_NUM_THREADS": options.threads, "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1}
        # What int8 leaves in floats is up to OpenVINO.
        if precision != "int8":
            self.settings["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[precision]

    def feed(self, inputs):
        if self.size != len(inputs):
            start = time.perf_counter()
            self.model.reshape({INPUT: list(inputs.shape)})
            compiled = self.core.compile_model(self.model, "CPU", self.settings)
            self.request, self.size = compiled.create_infer_request(), len(inputs)
            self.compile_ms = 1e3 * (time.perf_counter() - start)
            floats = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            self.variant = f"{self.kind}, floats are {floats}"
        # The tensor is a view: the inputs must live as long.
        self.inputs = inputs
        self.request.set_input_tensor(ov.Tensor(inputs, shared_memory=True))

    def run(self):
        self.request.infer()
        return self.request.get_output_tensor().data
