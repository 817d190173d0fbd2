#!/usr/bin/env python3
"""Stores what the snapshots of the main screen show, as the command line says it of the bundled samples.

    tests/main_screen/record.py target/release/diaret

Writes `grades.jsonl` (the records of `diaret grade`), `explained.json` (the report of `diaret explain`) and `map.f16` (its map,
summed over its channels, half precision, row by row).
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "assets" / "samples"
SHOWN = "IDRiD_048.jpg"


def tensor(file, name):
    """One f32 tensor of a safetensors file."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    assert entry["dtype"] == "F32", entry
    start, end = (8 + length + offset for offset in entry["data_offsets"])
    return struct.unpack(f"<{(end - start) // 4}f", data[start:end])


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()

    def run(*arguments):
        done = subprocess.run([binary, *arguments], cwd=SAMPLES, stdout=subprocess.PIPE, check=False)
        assert done.returncode in (0, 3), f"{arguments} ended with {done.returncode}"
        return done.stdout

    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder) / "raw.safetensors"
        report = json.loads(run("explain", SHOWN, "--network", "resnet50", "--raw", str(raw)))
        values = tensor(raw, "attribution")
    sums = [sum(values[first : first + 3]) for first in range(0, len(values), 3)]
    (HERE / "map.f16").write_bytes(struct.pack(f"<{len(sums)}e", *sums))
    (HERE / "explained.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = []
    for line in run("grade", ".", "--format", "jsonl").decode().splitlines():
        record = json.loads(line)
        for verdict in (record["networks"] or {}).values():
            if "unavailable" in verdict:
                # Without the path of this machine.
                verdict["unavailable"] = verdict["unavailable"].split(":")[0]
        lines.append(json.dumps(record))
    (HERE / "grades.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
