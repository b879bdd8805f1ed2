"""What every peer writes: the schema `swint-bench/1` of `swint bench --json`. Needs no package.

Times are in milliseconds. A percentile lies linearly between the two nearest of the sorted times, as
numpy's default; `spread_percent` is (p75 - p25) / median * 100.
"""
import json
import os
import platform
import statistics
import time

SCHEMA = "swint-bench/1"
STATISTICS = "min", "median", "mean", "p90", "p95", "p99", "max", "spread_percent"
SPLITS = "enqueue", "copy_in", "compute", "copy_out"
# The spread, in percent, from which a measurement is called noisy; swint's.
MAX_SPREAD = 2.5
# Extensions that decide how fast integer and float products are, as the kernel names them.
FEATURES = (
    "avx2", "f16c", "fma", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "neon", "asimd", "asimddp", "i8mm", "sve")


def percentile(times, percent):
    times = sorted(times)
    place = (len(times) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(times) - 1)
    return times[low] + (times[high] - times[low]) * (place - low)


def summary(times):
    """The statistics of some times."""
    p25, median, p75, p90, p95, p99 = (percentile(times, p) for p in (25, 50, 75, 90, 95, 99))
    return {
        "min": min(times), "median": median, "mean": statistics.fmean(times), "p90": p90,
        "p95": p95, "p99": p99, "max": max(times),
        "spread_percent": (p75 - p25) / median * 100 if median else 0.0}


def measure(run, batch, warm_up_ms=200.0, runs=10, seconds=3.0, split=None):
    """One entry of `results`: `run` is called until it was timed `runs` times and for `seconds`.

    `split`, if given, says after each run how long its parts took, as a dictionary of `SPLITS`.
    """
    start = time.perf_counter()
    while time.perf_counter() - start < warm_up_ms / 1e3:
        run()
    times, parts = [], []
    while len(times) < runs or sum(times) < 1e3 * seconds:
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
        if split:
            parts.append(split())
    return result(batch, times, parts)


def result(batch, times, parts=()):
    """One entry of `results`, of the times of its runs."""
    ms = summary(times)
    medians = {}
    for key in SPLITS:
        values = [part[key] for part in parts if part.get(key) is not None]
        medians[key] = percentile(values, 50) if values else None
    warnings = []
    if ms["spread_percent"] > MAX_SPREAD:
        warnings.append(f"noisy: half of the runs are {MAX_SPREAD} % of the median apart, or more")
    return {
        "batch": batch, "runs": len(times), "ms": ms, "images_per_s": 1e3 * batch / ms["median"],
        "split_ms": medians, "split_clock": "device" if parts else None, "warnings": warnings}


def document(tool, model, device, cold, results, started, command, **more):
    """A whole report; `more` are fields that the schema leaves to each tool, such as `check`."""
    return {
        "schema": SCHEMA, "tool": tool, "model": model, "device": device, "host": host(),
        "clock": "host", "started": started, "command": command,
        "cold": {key: cold.get(key) for key in ("load_ms", "compile_ms", "first_ms")},
        "results": results, **more}


def check(document):
    """Raises ValueError where a report is not of the schema."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"not of the schema {SCHEMA}")
    for key, parts in {
        "tool": ("name", "version"), "model": ("name", "precision", "variant", "file"),
        "device": ("kind", "name", "threads", "driver"), "host": ("cpu", "os", "features"),
        "cold": ("load_ms", "compile_ms", "first_ms"),
    }.items():
        missing = [part for part in parts if part not in (document.get(key) or {})]
        if missing:
            raise ValueError(f"{key} lacks {', '.join(missing)}")
    if not document.get("results"):
        raise ValueError("no results")
    for entry in document["results"]:
        missing = [key for key in ("batch", "runs", "ms", "images_per_s") if key not in entry]
        missing += [f"ms.{key}" for key in STATISTICS if key not in entry.get("ms", {})]
        if missing:
            raise ValueError(f"a result lacks {', '.join(missing)}")


def combine(rounds):
    """One report of several, each of a process of its own.

    Every time is the median of the rounds' times; `rounds_ms` are the rounds' medians, and
    `rounds_spread_percent` is (largest - smallest) / median of them * 100.
    """
    middle = statistics.median
    whole = dict(rounds[0])
    whole["rounds"] = len(rounds)
    for key in whole["cold"]:
        values = [r["cold"][key] for r in rounds if r["cold"][key] is not None]
        whole["cold"] = {**whole["cold"], key: middle(values) if values else None}
    whole["results"] = []
    for entries in zip(*(r["results"] for r in rounds)):
        ms = {key: middle(e["ms"][key] for e in entries) for key in STATISTICS}
        medians = [e["ms"]["median"] for e in entries]
        splits = {}
        for key in SPLITS:
            values = [(e.get("split_ms") or {}).get(key) for e in entries]
            splits[key] = None if None in values else middle(values)
        whole["results"].append({
            "batch": entries[0]["batch"], "runs": sum(e["runs"] for e in entries), "ms": ms,
            "images_per_s": 1e3 * entries[0]["batch"] / ms["median"], "split_ms": splits,
            "split_clock": entries[0].get("split_clock"),
            "warnings": sorted({w for e in entries for w in e.get("warnings", ())}),
            "rounds_ms": medians,
            "rounds_spread_percent": (max(medians) - min(medians)) / ms["median"] * 100})
    return whole


def table(reports, base=None):
    """Reports by name as a Markdown table, beside the report named `base`.

    A ratio is the median of the rounds' ratios, with the least and the largest: the two times of a
    round were taken one soon after the other.
    """
    head = ["", "precision", "batch", "median ms", "rounds ms", "images/s", f"times {base}",
            "cosine", "top-1"]
    rows = [head, ["---"] * len(head)]
    for name, whole in reports.items():
        found = whole.get("check") or {}
        for entry in whole["results"]:
            low, high = min(entry["rounds_ms"]), max(entry["rounds_ms"])
            rows.append([
                name, whole["model"]["precision"], str(entry["batch"]),
                f"{entry['ms']['median']:.4g}", f"{low:.4g} to {high:.4g}",
                f"{entry['images_per_s']:.0f}", ratio(entry, reports.get(base)),
                number(found.get("cosine"), ".5f"), number(found.get("top1_agree"), ".0%")])
    if base is None:
        rows = [row[:6] + row[7:] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def ratio(entry, base):
    if base is None:
        return ""
    same = [e for e in base["results"] if e["batch"] == entry["batch"]]
    if not same or len(same[0]["rounds_ms"]) != len(entry["rounds_ms"]):
        return ""
    ratios = [a / b for a, b in zip(entry["rounds_ms"], same[0]["rounds_ms"])]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def number(value, form):
    return "" if value is None else format(value, form)


def cpu():
    """The processor's name and its extensions, of `FEATURES`."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    name = value.strip()
                elif key.strip() in ("flags", "Features"):
                    flags |= set(value.split())
    except OSError:
        pass
    return name, [feature for feature in FEATURES if feature in flags]


def host():
    name, features = cpu()
    return {"cpu": name, "os": f"{platform.system()} {platform.release()}", "features": features}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path, text):
    """Writes a whole file or none."""
    part = f"{path}.{os.getpid()}.part"
    with open(part, "w") as file:
        file.write(text)
    os.replace(part, path)


def write_json(path, document):
    check(document)
    write(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
