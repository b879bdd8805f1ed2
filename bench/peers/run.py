"""Times swint and its peers on one machine, in turns, and writes a report of each and a table.

    python bench/peers/run.py OUT --model M --weights W --swint target/release/swint --swint-model T.swint

Every round runs every peer once, each in a process of its own, so that their threads do not meet and
what else the machine does hits all alike. A report's times are the medians of the rounds' times.
"""
import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import peer as single
import report
from peers import PEERS

HERE = pathlib.Path(__file__).resolve().parent


def main():
    options, shared = parse()
    if options.device == "cpu":
        # swint's threads, too, are as many as the cores that it may use.
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:options.threads])
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        reference = json.loads(say_and_run("reference", peer_command("reference", shared)))
    except Failed as error:
        sys.exit(f"reference: {error}")
    commands, failed = {}, {}
    for path in options.swint_model:
        commands[f"swint-{path.stem}"] = path
    for name in options.peers:
        commands[name] = peer_command(name, shared)
        attempt(failed, name, "prepare", lambda n=name: say_and_run(
            f"prepare {n}", peer_command(n, shared) + ["--prepare"]))
    rounds = {name: [] for name in commands}
    for i in range(options.rounds):
        for name, command in commands.items():
            if name not in failed:
                attempt(failed, name, f"round {i + 1}", lambda n=name, c=command: rounds[n].append(
                    swint(options, c) if n.startswith("swint-") else timed(n, c)))
    reports = {}
    for name, found in rounds.items():
        if found and name not in failed:
            reports[name] = report.combine(found)
            if name.startswith("swint-"):
                attempt(failed, name, "compare", lambda n=name: compare(
                    options, commands[n], pathlib.Path(reference["folder"]), reports[n]))
            report.write_json(out / f"{name}.json", reports[name])
    base = next((name for name in reports if name.startswith("swint-")), None)
    text = heading(options, reference, reports) + report.table(reports, base)
    text += "".join(f"\n{name}: {why}\n" for name, why in failed.items())
    report.write(out / "table.md", text)
    print(text, end="")
    # What this machine cannot run is no failure.
    sys.exit(1 if not reports or any("unavailable" not in why for why in failed.values()) else 0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", metavar="OUT", help="folder for the reports")
    parser.add_argument("--peers", metavar="NAME,…", help="default: the usual ones of the device, of "
                        + ", ".join(PEERS))
    parser.add_argument("--rounds", type=single.positive, default=5, help="default: 5")
    parser.add_argument("--swint", metavar="BINARY")
    parser.add_argument("--swint-model", metavar="FILE", type=pathlib.Path, action="append", default=[],
                        help="a model that it compiled of the same checkpoint; may be given again")
    parser.add_argument("--swint-args", metavar="ARGS", type=shlex.split, default=[],
                        help="more arguments for swint bench")
    single.arguments(parser)
    options = parser.parse_args()
    allowed = len(os.sched_getaffinity(0))
    if options.threads > allowed:
        parser.error(f"--threads {options.threads}: {allowed} cores may be used")
    if options.swint_model and not options.swint:
        parser.error("--swint-model needs --swint")
    stems = [path.stem for path in options.swint_model]
    if len(set(stems)) < len(stems):
        parser.error("two of --swint-model have one name")
    usual = [n for n, p in PEERS.items() if p.default and options.device in p.devices]
    options.peers = usual if options.peers is None else [n for n in options.peers.split(",") if n]
    for name in options.peers:
        if name not in PEERS or options.device not in PEERS[name].devices:
            parser.error(f"--peers: no {name} on {options.device}; there are "
                         + ", ".join(n for n, p in PEERS.items() if options.device in p.devices))
    own = {"out", "peers", "rounds", "swint", "swint_model", "swint_args"}
    shared = []
    for key, value in vars(options).items():
        if key not in own and value is not None:
            value = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            shared += [f"--{key.replace('_', '-')}", value]
    return options, shared


def peer_command(name, shared):
    return [sys.executable, str(HERE / "peer.py"), name, *shared]


class Failed(Exception):
    """Why a command gave nothing."""


def attempt(failed, name, step, action):
    """What goes wrong is noted, and the others go on."""
    try:
        action()
    except (Failed, OSError, ValueError, KeyError) as error:
        failed[name] = f"{step}: {error}"
        print(f"{name}: {failed[name]}", file=sys.stderr)


def say_and_run(label, command):
    """The standard output of a command."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    print(f"{label}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        what = "unavailable" if done.returncode == single.UNAVAILABLE else f"exit code {done.returncode}"
        raise Failed(f"{what}: {lines[-1]}")
    return done.stdout


def timed(name, command):
    """The report that a command prints."""
    found = json.loads(say_and_run(name, command))
    report.check(found)
    return found


def swint(options, model):
    """The report of swint, told to measure as long as peers."""
    return timed(f"swint-{model.stem}", [
        options.swint, "bench", str(model), "--json", "--device", options.device,
        "--batch", ",".join(map(str, options.batch)), "--warmup-ms", f"{options.warm_up_ms:.0f}",
        "--min-time", str(options.seconds), "--iterations", str(options.runs), *options.swint_args])


def compare(options, model, folder, found):
    """Adds how far swint's logits are from PyTorch's."""
    said = say_and_run(f"swint compare {model.stem}", [
        options.swint, "compare", str(model), "--json", "--device", options.device, "--tolerance", "1e30",
        "--input", str(folder / "input.safetensors"), "--golden", str(folder / "golden.safetensors")])
    row, = json.loads(said)["tensors"]
    if "cosine" not in row:
        raise Failed(row.get("error", "no cosine"))
    found["check"] = {"cosine": row["cosine"], "top1_agree": None, "sqnr_db": row["sqnr_db"]}


def heading(options, reference, reports):
    lines = [f"{options.model}, {options.device}, {options.threads} threads, {options.rounds} rounds."]
    hosts = {json.dumps(r["host"]) for r in reports.values()}
    for host in map(json.loads, sorted(hosts)):
        lines.append(f"{host['cpu']} ({' '.join(host['features'])}), {host['os']}.")
    tools = sorted({f"{r['tool']['name']} {r['tool']['version']}" for r in reports.values()})
    lines.append(f"{', '.join(tools)}. Checkpoint: {pathlib.Path(reference['weights']).name}.")
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
