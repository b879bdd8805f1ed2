"""Times one peer in this process and prints its report, in the schema of `swint bench --json`.

    python bench/peers/peer.py onnxruntime-fp32 --model swin_tiny_patch4_window7_224 --threads 2
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import report
from peers import PEERS, Unavailable

# The exit code of a peer that this machine cannot run: `EX_UNAVAILABLE` of sysexits.h.
UNAVAILABLE = 69


def arguments(parser):
    """What run.py takes, too, and hands on."""
    add = parser.add_argument
    add("--model", default="swin_tiny_patch4_window7_224", metavar="M",
        help="a swin.toml, or the name of a Swin of timm's (default: %(default)s)")
    add("--weights", metavar="FILE", help="safetensors with timm's names (default: random, of --seed)")
    add("--seed", type=int, default=1)
    add("--pictures", metavar="FOLDER", help="to check with (default: random blobs)")
    add("--calib", metavar="FOLDER", help="pictures to calibrate int8 with (default: those of --pictures)")
    add("--cache", metavar="FOLDER", help="where graphs are kept (default: swint-peers in the user's cache)",
        default=pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "swint-peers")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=positive, default=len(os.sched_getaffinity(0)), help="default: all cores")
    add("--batch", type=batches, default=[1], metavar="N,…", help="default: 1")
    add("--warm-up-ms", type=float, default=200.0)
    add("--runs", type=positive, default=10, help="at least so many are timed (default: 10)")
    add("--seconds", type=float, default=3.0, help="and for so long (default: 3)")


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def batches(text):
    return [positive(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peer", choices=["reference", *PEERS], metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--prepare", action="store_true", help="only make the files that it reads")
    arguments(parser)
    options = parser.parse_args()
    if options.peer != "reference" and options.device not in PEERS[options.peer].devices:
        parser.error(f"{options.peer} does not run on {options.device}")
    # Before anything is imported that reads it.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(pathlib.Path(options.cache, "inductor").resolve()))
    started = report.now()
    from models import Model

    model = Model(options.model, options.weights, options.seed, options.pictures, options.calib,
                  options.cache)
    if options.peer == "reference":
        model.golden()
        print(json.dumps({"folder": str(model.folder), "weights": model.weights}))
        return
    peer = PEERS[options.peer]
    try:
        module = peer.load()
        if options.prepare:
            getattr(module, "prepare", lambda *_: None)(model, peer.variant, peer.precision)
        else:
            print(json.dumps(bench(model, module, peer, options, started), indent=2, allow_nan=False))
    except (ImportError, Unavailable) as error:
        print(f"{options.peer}: {error}", file=sys.stderr)
        sys.exit(UNAVAILABLE)


def bench(model, module, peer, options, started):
    import numpy as np

    from models import agreement

    inputs, golden = model.inputs(), model.golden()
    engine = module.make(model, options, peer.variant, peer.precision)
    cold, found, results = None, None, []
    for batch in options.batch:
        # Pictures come around again where there are too few.
        whole = np.resize(np.arange(len(inputs)), (-(-len(inputs) // batch), batch))
        engine.feed(inputs[whole[0]])
        start = time.perf_counter()
        engine.run()
        first_ms = 1e3 * (time.perf_counter() - start)
        if cold is None:
            cold = {"load_ms": engine.load_ms, "compile_ms": engine.compile_ms, "first_ms": first_ms}
            logits = []
            for rows in whole:
                engine.feed(inputs[rows])
                logits.append(engine.run().copy())
            found = agreement(golden, np.concatenate(logits)[:len(golden)])
            engine.feed(inputs[whole[0]])
        split = engine.split if options.device == "cuda" else None
        results.append(report.measure(
            engine.run, batch, options.warm_up_ms, options.runs, options.seconds, split))
    name, _, _ = peer.module.partition("_")
    return report.document(
        {"name": name, "version": engine.version},
        {"name": model.name, "precision": peer.precision,
         "variant": getattr(engine, "variant", peer.variant), "file": model.weights},
        device(options), cold, results, started, shlex.join(sys.argv), check=found)


def device(options):
    name, driver = report.cpu()[0], None
    if options.device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            said = subprocess.run(query, capture_output=True, text=True).stdout.split()
            driver = said[0] if said else None
    return {"kind": options.device, "name": name, "threads": options.threads, "driver": driver}


if __name__ == "__main__":
    main()
