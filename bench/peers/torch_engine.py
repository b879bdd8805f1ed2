"""timm's model in PyTorch, eager and by torch.compile; on CUDA with pinned memory of the host."""
import time

import torch

from peers import Unavailable

# Both with CUDA graphs; to try kernels of matrix products takes minutes.
MODES = {"compile": "reduce-overhead", "autotune": "max-autotune"}
KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make(model, options, variant, precision):
    if options.device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("PyTorch finds no CUDA device")
    torch.set_num_threads(options.threads)
    return Engine(model, options.device, variant, KINDS[precision])


class Engine:
    version = torch.__version__

    def __init__(self, model, device, variant, kind):
        start = time.perf_counter()
        self.model = model.torch().to(device, kind)
        self.device, self.kind, self.compile_ms = device, kind, None
        self.load_ms = 1e3 * (time.perf_counter() - start)
        self.compiled = variant in MODES
        if self.compiled:
            # On the CPU, freezing lays out weights for oneDNN.
            torch._inductor.config.freezing = device == "cpu"
            self.model = torch.compile(
                self.model, mode=MODES[variant] if device == "cuda" else "default", dynamic=False)

    @torch.inference_mode()
    def feed(self, inputs):
        host = torch.from_numpy(inputs).to(self.kind)
        if self.device == "cuda":
            self.host = host.pin_memory()
            self.inputs = torch.empty_like(host, device="cuda")
            self.logits = None
        else:
            self.inputs = host
        if self.compiled and self.compile_ms is None:
            start = time.perf_counter()
            self.run()
            self.compile_ms = 1e3 * (time.perf_counter() - start)

    @torch.inference_mode()
    def run(self):
        if self.device == "cpu":
            return self.model(self.inputs).float().numpy()
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        self.events[0].record()
        self.inputs.copy_(self.host, non_blocking=True)
        self.events[1].record()
        logits = self.model(self.inputs)
        self.events[2].record()
        if self.logits is None:
            self.logits = torch.empty_like(logits, device="cpu", pin_memory=True)
        self.logits.copy_(logits, non_blocking=True)
        self.events[3].record()
        torch.cuda.synchronize()
        return self.logits.float().numpy()

    def split(self):
        """Of the device's clock."""
        times = [a.elapsed_time(b) for a, b in zip(self.events, self.events[1:])]
        return dict(zip(("copy_in", "compute", "copy_out"), times))
