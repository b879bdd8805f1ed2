"""The peers by name. Importing this imports none of them."""
import dataclasses
import importlib


class Unavailable(Exception):
    """Why a peer cannot run on this machine."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """`module.make(model, options, variant, precision)` gives its engine.

    An engine has `version`, `load_ms` and `compile_ms`, `feed(batch of inputs)`, which is not timed, and
    `run()`, from the inputs fed to logits in the host's memory; maybe `split()`, how long the parts of the
    last run took (or None), and a `variant` that says more than the peer's. `prepare(model, variant,
    precision)`, where a module has it, makes the files that engines read, once.
    """

    module: str
    precision: str
    variant: str
    devices: tuple = ("cpu", "cuda")
    default: bool = True

    def load(self):
        return importlib.import_module(self.module)


PEERS = {
    "torch-eager-fp32": Peer("torch_engine", "fp32", "eager"),
    "torch-eager-bf16": Peer("torch_engine", "bf16", "eager", default=False),
    "torch-eager-fp16": Peer("torch_engine", "fp16", "eager", ("cuda",)),
    "torch-compile-fp32": Peer("torch_engine", "fp32", "compile"),
    "torch-compile-bf16": Peer("torch_engine", "bf16", "compile"),
    "torch-compile-fp16": Peer("torch_engine", "fp16", "compile", ("cuda",)),
    "torch-autotune-fp16": Peer("torch_engine", "fp16", "autotune", ("cuda",), default=False),
    "onnxruntime-fp32": Peer("onnxruntime_engine", "fp32", "float"),
    "onnxruntime-int8-products": Peer("onnxruntime_engine", "int8", "static-qdq-products", ("cpu",)),
    "onnxruntime-int8-linears": Peer("onnxruntime_engine", "int8", "static-qdq-linears", ("cpu",)),
    "onnxruntime-int8-all": Peer("onnxruntime_engine", "int8", "static-qdq", ("cpu",)),
    "onnxruntime-int8-dynamic": Peer("onnxruntime_engine", "int8", "dynamic", ("cpu",)),
    "openvino-fp32": Peer("openvino_engine", "fp32", "float", ("cpu",)),
    "openvino-bf16": Peer("openvino_engine", "bf16", "float", ("cpu",), default=False),
    "openvino-int8": Peer("openvino_engine", "int8", "nncf", ("cpu",)),
    "openvino-int8-transformer": Peer("openvino_engine", "int8", "nncf-transformer", ("cpu",)),
    "tensorrt-fp16": Peer("tensorrt_engine", "fp16", "float", ("cuda",)),
    "tensorrt-int8": Peer("tensorrt_engine", "int8", "static-qdq", ("cuda",)),
}
