"""Tests of what needs no peer: statistics, the schema, and run.py on a stand-in for swint.

    python bench/peers/test_peers.py
"""
import copy
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

import peers
import report

HERE = pathlib.Path(__file__).resolve().parent


def sample(times=(4.0, 1.0, 2.0, 3.0), batch=2, parts=()):
    return report.document(
        {"name": "t", "version": "1"},
        {"name": "m", "precision": "fp32", "variant": "v", "file": "f"},
        {"kind": "cpu", "name": "c", "threads": 2, "driver": None},
        {"load_ms": 1.0, "compile_ms": None, "first_ms": 2.0},
        [report.result(batch, list(times), parts)], report.now(), "t m")


class Statistics(unittest.TestCase):
    def test_percentiles_lie_between_times(self):
        # The values are those of numpy.percentile.
        times = [15.0, 20.0, 35.0, 40.0, 50.0]
        for percent, wanted in (0, 15), (25, 20), (40, 29), (50, 35), (90, 46), (95, 48), (100, 50):
            self.assertAlmostEqual(report.percentile(times[::-1], percent), wanted)
        self.assertEqual(report.percentile([7.0], 99), 7.0)

    def test_spread_is_the_middle_half(self):
        ms = report.summary([1.0, 2.0, 3.0, 4.0, 5.0])
        self.assertEqual((ms["min"], ms["median"], ms["mean"], ms["max"]), (1, 3, 3, 5))
        self.assertAlmostEqual(ms["spread_percent"], (4 - 2) / 3 * 100)

    def test_measures_at_least_the_runs_and_the_time(self):
        count = [0]

        def run():
            count[0] += 1

        entry = report.measure(run, 3, warm_up_ms=1.0, runs=12, seconds=0.0)
        self.assertEqual(entry["runs"], 12)
        self.assertGreater(count[0], 12)
        entry = report.measure(run, 3, warm_up_ms=0.0, runs=1, seconds=0.01)
        self.assertGreaterEqual(entry["runs"] * entry["ms"]["mean"], 10.0 * 0.999)
        self.assertAlmostEqual(entry["images_per_s"], 3e3 / entry["ms"]["median"])

    def test_noise_is_said(self):
        self.assertEqual(report.result(1, [1.0] * 20)["warnings"], [])
        self.assertIn("noisy", report.result(1, [1.0] * 10 + [1.1] * 10)["warnings"][0])

    def test_parts_are_medians(self):
        entry = report.result(1, [1.0], [{"compute": c} for c in (3.0, 1.0, 2.0)])
        self.assertEqual((entry["split_clock"], report.result(1, [1.0])["split_clock"]), ("device", None))
        wanted = {"enqueue": None, "copy_in": None, "compute": 2.0, "copy_out": None}
        self.assertEqual(entry["split_ms"], wanted)


class Schema(unittest.TestCase):
    def test_a_document_is_of_the_schema(self):
        document = sample()
        report.check(document)
        self.assertEqual(document["schema"], "swint-bench/1")
        self.assertRegex(document["started"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "t.json")
            report.write_json(path, document)
            self.assertEqual(json.loads(path.read_text()), document)
            self.assertEqual(os.listdir(folder), ["t.json"])

    def test_what_lacks_a_field_is_refused_and_not_written(self):
        def without(*path):
            document = copy.deepcopy(sample())
            place = document
            for key in path[:-1]:
                place = place[key]
            del place[path[-1]]
            return document

        for path in (("schema",), ("tool", "version"), ("device", "threads"), ("cold",), ("results",),
                     ("results", 0, "ms", "p95"), ("results", 0, "batch"), ("host", "features")):
            with self.subTest(path), tempfile.TemporaryDirectory() as folder:
                with self.assertRaises(ValueError):
                    report.write_json(f"{folder}/t.json", without(*path))
                self.assertEqual(os.listdir(folder), [])
        with self.assertRaises(ValueError):
            report.check({"timing": 1})

    def test_rounds_become_their_medians(self):
        rounds = [sample([ms], parts=[{"compute": ms / 2}]) for ms in (10.0, 30.0, 12.0)]
        rounds[0]["cold"]["load_ms"] = 7.0
        whole = report.combine(rounds)
        report.check(whole)
        entry, = whole["results"]
        self.assertEqual((entry["ms"]["median"], entry["runs"], whole["rounds"]), (12.0, 3, 3))
        self.assertEqual(entry["rounds_ms"], [10.0, 30.0, 12.0])
        self.assertAlmostEqual(entry["rounds_spread_percent"], 20 / 12 * 100)
        self.assertAlmostEqual(entry["images_per_s"], 2e3 / 12)
        self.assertEqual(whole["cold"], {"load_ms": 1.0, "compile_ms": None, "first_ms": 2.0})
        self.assertEqual(entry["split_ms"]["compute"], 6.0)
        self.assertEqual(rounds[0]["cold"]["load_ms"], 7.0)

    def test_ratios_are_those_of_rounds(self):
        # The machine was half as fast in the second round: the ratio does not show it.
        ours = report.combine([sample([ms]) for ms in (10.0, 20.0, 10.0)])
        theirs = report.combine([sample([ms]) for ms in (15.0, 30.0, 16.0)])
        theirs["check"] = {"cosine": 0.5, "top1_agree": 0.25}
        table = report.table({"swint-t": ours, "x": theirs}, "swint-t").splitlines()
        self.assertIn("1.50 (1.50 to 1.60) | 0.50000 | 25% |", table[3])
        self.assertNotIn("times", report.table({"x": theirs}))

    def test_every_peer_has_a_module(self):
        for name, peer in peers.PEERS.items():
            self.assertTrue((HERE / f"{peer.module}.py").is_file(), name)
            self.assertTrue(set(peer.devices) <= {"cpu", "cuda"} and peer.devices, name)


class Driver(unittest.TestCase):
    """run.py with peer.py's answers and swint's made up by stand-ins."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in "run.py", "report.py", "peers.py":
            (self.folder / name).write_text((HERE / name).read_text())
        own = (HERE / "peer.py").read_text().partition("\ndef main():")[0]
        document = json.dumps(json.dumps(sample([8.0], batch=1)))
        (self.folder / "peer.py").write_text(own + f"""
if __name__ == "__main__":
    print(sys.argv[1], file=open({str(self.folder / "log")!r}, "a"))
    if sys.argv[1] == "reference":
        print('{{"folder": "f", "weights": "w"}}')
    elif sys.argv[1] == "openvino-fp32":
        sys.exit("broken\\nfor a reason")
    elif sys.argv[1] == "openvino-int8":
        print("not here", file=sys.stderr)
        sys.exit(UNAVAILABLE)
    elif "--prepare" not in sys.argv:
        print({document})
""")
        self.swint = self.folder / "swint"
        document = json.dumps(sample([4.0], batch=1))
        self.swint.write_text(f"""#!{sys.executable}
import sys
assert sys.argv[1] == "compare" or "1" == sys.argv[sys.argv.index("--batch") + 1]
print("swint", sys.argv[1], file=open({str(self.folder / "log")!r}, "a"))
compared = '{{"tensors": [{{"cosine": 0.99, "sqnr_db": 20.0}}]}}'
print(compared if sys.argv[1] == "compare" else {document!r})
""")
        self.swint.chmod(self.swint.stat().st_mode | stat.S_IXUSR)

    def run_it(self, peers, *more):
        command = [sys.executable, "run.py", "out", "--peers", peers, "--threads", "1", "--rounds", "2"]
        return subprocess.run(command + [*more], cwd=self.folder, capture_output=True, text=True)

    def test_peers_take_turns(self):
        done = self.run_it("torch-eager-fp32,onnxruntime-fp32", "--swint", str(self.swint),
                           "--swint-model", "T.swint")
        self.assertEqual(done.returncode, 0, done.stderr)
        turn = ["swint bench", "torch-eager-fp32", "onnxruntime-fp32"]
        wanted = ["reference", *turn[1:], *turn, *turn, "swint compare"]
        self.assertEqual((self.folder / "log").read_text().splitlines(), wanted)
        ours = json.loads((self.folder / "out/swint-T.json").read_text())
        self.assertEqual((ours["rounds"], ours["check"]["cosine"]), (2, 0.99))
        table = (self.folder / "out/table.md").read_text()
        self.assertIn("| onnxruntime-fp32 | fp32 | 1 | 8 | 8 to 8 | 125 | 2.00 (2.00 to 2.00) |", table)

    def test_what_fails_is_named_and_the_rest_goes_on(self):
        done = self.run_it("openvino-fp32,onnxruntime-fp32")
        self.assertEqual(done.returncode, 1)
        self.assertIn("openvino-fp32: prepare: exit code 1: for a reason", done.stdout)
        self.assertTrue((self.folder / "out/onnxruntime-fp32.json").exists())
        self.assertFalse((self.folder / "out/openvino-fp32.json").exists())

    def test_what_the_machine_cannot_run_is_no_failure(self):
        done = self.run_it("openvino-int8,onnxruntime-fp32")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("openvino-int8: prepare: unavailable: not here", done.stdout)

    def test_unknown_peers_are_refused(self):
        done = self.run_it("tensorrt-fp16")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no tensorrt-fp16 on cpu", done.stderr)


if __name__ == "__main__":
    unittest.main()
