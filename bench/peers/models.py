"""timm's Swins by description, their checkpoints, and the inputs and answers that peers are checked with.

All that is slow to make is kept in a folder whose name depends on everything that it was made from.
"""
import hashlib
import json
import os
import pathlib
import tomllib

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from timm.models import create_model, get_pretrained_cfg
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2

INPUT, OUTPUT, RANDOM_PICTURES = "pixel_values", "logits", 16


class Model:
    """A Swin, its checkpoint, and what is kept of it in `folder`.

    `model` is a `swin.toml` with a `[preprocess]`, or the name of a model of timm's. Without `weights`
    they are random, of `seed`. `pictures` and `calib` are folders of pictures, the first to be checked
    with, the second to calibrate int8 with (the same if not given); without `pictures` they are random.
    """

    def __init__(self, model, weights, seed, pictures, calib, cache):
        if model.endswith(".toml"):
            with open(model, "rb") as file:
                spec = tomllib.load(file)
            if "preprocess" not in spec:
                raise SystemExit(f"{model}: no [preprocess]: peers are checked with pictures")
            self.spec, self.preprocess = spec["model"], spec["preprocess"]
        else:
            cfg = get_pretrained_cfg(model)
            if cfg is None:
                raise SystemExit(f"{model}: neither a description (.toml) nor a model of timm's")
            side = cfg.input_size[-1]
            self.spec = {"name": model, "image": side, "classes": cfg.num_classes, "timm": model}
            self.preprocess = {
                "resize": int(side / cfg.crop_pct), "interpolation": cfg.interpolation,
                "mean": cfg.mean, "std": cfg.std}
        self.seed, self.name, self.side = seed, self.spec["name"], self.spec["image"]
        self.pictures = picture_files(pictures) if pictures else []
        self.calib = picture_files(calib) if calib else self.pictures
        files = [path.read_bytes() for path in (*self.pictures, *self.calib)]
        key = hashlib.sha256(json.dumps([self.spec, self.preprocess, seed, len(self.calib)]).encode())
        for file in (*files, *([pathlib.Path(weights).read_bytes()] if weights else [])):
            key.update(hashlib.sha256(file).digest())
        key.update(pathlib.Path(__file__).with_name("requirements.txt").read_bytes())
        self.folder = pathlib.Path(cache, f"{self.name}-{key.hexdigest()[:12]}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.weights = weights or str(self.kept("model.safetensors", self._random_weights))

    def kept(self, name, make):
        """The path of a file of the folder; where it is not there yet, `make(path)` makes it."""
        path = self.folder / name
        if not path.exists():
            part = self.folder / f"part{os.getpid()}-{name}"
            make(part)
            os.replace(part, path)
        return path

    def _empty(self):
        if "timm" in self.spec:
            model = create_model(self.spec["timm"])
        else:
            s = self.spec
            model = SwinTransformer(
                img_size=s["image"], patch_size=s["patch"], in_chans=s.get("channels", 3),
                num_classes=s["classes"], embed_dim=s["embed"], depths=tuple(s["depths"]),
                num_heads=tuple(s["heads"]), window_size=s["window"],
                mlp_ratio=s.get("mlp_ratio", 4.0), qkv_bias=s.get("qkv_bias", True))
        if not isinstance(model, (SwinTransformer, SwinTransformerV2)):
            raise SystemExit(f"{self.name}: not a Swin Transformer")
        return model.eval().requires_grad_(False)

    def torch(self):
        """The model in PyTorch, fp32."""
        model = self._empty()
        weights = load_file(self.weights)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        return model

    def _random_weights(self, path):
        """As `swint compile --random-weights` draws them (not the same numbers): unlike timm's own
        start, which is nearly linear, every bias matters and attention is not even."""
        rng, drawn = np.random.default_rng(self.seed), {}
        for name, old in self._empty().state_dict().items():
            mean, deviation = 0.0, 1.4 / np.sqrt(np.prod(old.shape[1:]))
            if old.ndim == 1:
                mean, deviation = (1.0, 0.2) if name.endswith(".weight") else (0.0, 0.1)
            elif name.endswith("bias_table"):
                deviation = 0.5
            elif name.endswith("logit_scale"):
                mean, deviation = np.log(10), 0.1
            drawn[name] = mean + deviation * rng.standard_normal(old.shape)
        save_file({name: value.astype(np.float32) for name, value in drawn.items()}, path)

    def pixels(self):
        """The pictures to check with, u8[n,side,side,3]."""
        return load_file(self.kept("input.safetensors", lambda path: save_file(
            {"pixels": self._read(self.pictures, seed=1)}, path)))["pixels"]

    def inputs(self):
        """The same as models take them: normalised, f32[n,3,side,side]."""
        return self._normalised(self.pixels())

    def calibration(self):
        """Inputs to calibrate int8 with."""
        return self._normalised(self._read(self.calib, seed=2))

    def golden(self):
        """PyTorch's fp32 logits of the inputs."""
        def make(path):
            logits = self.torch()(torch.from_numpy(self.inputs())).numpy()
            save_file({OUTPUT: logits}, path)
        return load_file(self.kept("golden.safetensors", make))[OUTPUT]

    def onnx(self, half=False):
        """The path of an ONNX graph with any batch, of fp32 or fp16."""
        return str(self.kept("fp16.onnx" if half else "fp32.onnx", lambda path: self._export(path, half)))

    def _export(self, path, half):
        import onnx

        model, kind = self.torch(), torch.float16 if half else torch.float32
        example = torch.zeros(2, 3, self.side, self.side, dtype=kind)
        program = torch.onnx.export(
            model.to(kind), (example,), dynamo=True, opset_version=20, verbose=False,
            input_names=[INPUT], output_names=[OUTPUT],
            dynamic_shapes=[{0: torch.export.Dim("batch")}])
        graph = program.model_proto
        without_empty_pads(graph)
        onnx.save(graph, path)

    def _read(self, files, seed):
        if files:
            return np.stack([self._picture(path) for path in files])
        # Blurred noise: pictures of plain noise are all one to a network.
        noise = np.random.default_rng(seed).integers(0, 256, (RANDOM_PICTURES, 8, 8, 3), np.uint8)
        size = self.side, self.side
        return np.stack([np.asarray(Image.fromarray(n).resize(size, Image.BICUBIC)) for n in noise])

    def _picture(self, path):
        p, side = self.preprocess, self.side
        how = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[p["interpolation"]]
        picture = Image.open(path).convert("RGB")
        if p["resize"] == "exact":
            return np.asarray(picture.resize((side, side), how))
        size = tuple(p["resize"] * extent // min(picture.size) for extent in picture.size)
        picture = picture.resize(size, how)
        left, top = (round((extent - side) / 2) for extent in picture.size)
        return np.asarray(picture.crop((left, top, left + side, top + side)))

    def _normalised(self, pixels):
        mean, std = (np.float32(self.preprocess[key]) for key in ("mean", "std"))
        values = (pixels.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def without_empty_pads(model):
    """Takes out timm's pads by nothing: ONNX Runtime would copy the tensors."""
    from onnx import numpy_helper

    graph, same = model.graph, {}
    consts = {const.name: const for const in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Pad" and node.input[1] in consts:
            if not numpy_helper.to_array(consts[node.input[1]]).any():
                same[node.output[0]] = same.get(node.input[0], node.input[0])
                graph.node.remove(node)
                continue
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)


def picture_files(folder):
    """The pictures of a folder, by name."""
    kinds = {".png", ".jpg", ".jpeg"}
    files = sorted(p for p in pathlib.Path(folder).iterdir() if p.suffix.lower() in kinds)
    if not files:
        raise SystemExit(f"{folder}: no pictures")
    return files


def agreement(golden, logits):
    """How far logits are from PyTorch's in fp32: of a broken int8, this says so."""
    a, b = golden.astype(np.float64), logits.astype(np.float64)
    noise = np.square(a - b).sum()
    return {
        "cosine": float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-300)),
        "top1_agree": float((a.argmax(1) == b.argmax(1)).mean()),
        "sqnr_db": float(10 * np.log10(np.square(a).sum() / noise)) if noise else None,
        "pictures": len(a)}
