"""The other side of `diaret bench --beside python benches/captum/captum_bench.py`: PyTorch and Captum.

Requests come as lines of JSON on stdin, answers go as lines of JSON to stdout (README.md has them). Whatever is made ready or
warmed up is done before the clock starts. A setting is a memory layout, eager or compiled, and for maps Captum's
`internal_batch_size`.
"""

import contextlib
import json
import os
import sys
import time
import traceback

import captum
import torch
from captum.attr import IntegratedGradients
from safetensors.numpy import load_file, save_file

from network import build
from photographs import loader

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
AT_ONCE = (1, 5, 10, 25)
# Without "compiled", which takes minutes a network, a machine that is lent for minutes can be measured.
MODES = os.environ.get("CAPTUM_BENCH_MODES", "eager compiled").split()
assert set(MODES) <= {"eager", "compiled"} and "eager" in MODES, f"CAPTUM_BENCH_MODES is {MODES}"


def device_of(task):
    return torch.device({"cpu": "cpu", "cuda": "cuda", "metal": "mps"}[task["device"]])


def settings(task, quick):
    """Compiling takes minutes a network: a quick run leaves it out."""
    ways = [f"{mode}, {layout}" for mode in MODES if mode == "eager" or not quick for layout in LAYOUTS]
    return [f"{way}, {count} at once" for way in ways for count in AT_ONCE] if task["kind"] == "map" else ways


class Networks:
    """At most one module a network, in the setting last asked for, so that memory is that of the networks and no more."""

    def __init__(self):
        self.made = {}

    def get(self, topology, task, setting):
        mode, layout = setting.split(", ")[:2]
        trains, grad = task["kind"] == "training", task["kind"] in ("gradient", "map", "training")
        compiled = (task["threads"], task["precision"], grad) if mode == "compiled" else None
        way = (mode, layout, task["device"], trains, compiled)
        if self.made.get(topology, (None,))[0] != way:
            self.made.pop(topology, None)
            module = build(topology, trains).to(device_of(task), memory_format=LAYOUTS[layout])
            if mode == "compiled":
                # Weights can be frozen into the code where nothing is differentiated.
                module = torch.compile(module, dynamic=False, options=None if grad else {"freezing": True})
            self.made[topology] = (way, module)
        return self.made[topology][1]


class Clock:
    """Time until the device is done, and the most memory meanwhile."""

    def __init__(self, device):
        self.device = device

    def __enter__(self):
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.wait()
        self.begun = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.wait()
        self.seconds = time.perf_counter() - self.begun

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def answer(self, **more):
        peak = None
        with contextlib.suppress(OSError), open("/proc/self/status") as file:
            peak = next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        return {"seconds": self.seconds, "peak_bytes": peak, **more}


def images(file, name, task, setting):
    """[rows, 3, side, side] in the setting's layout."""
    values = torch.from_numpy(load_file(file)[name])
    values = values[None] if values.ndim == 3 else values[: task["rows"]]
    layout = LAYOUTS[setting.split(", ")[1]]
    return values.permute(0, 3, 1, 2).to(device_of(task)).contiguous(memory_format=layout)


def autocast(task):
    return torch.autocast(device_of(task).type, torch.bfloat16, enabled=task["precision"] == "bf16")


class Bench:
    def __init__(self):
        self.networks = Networks()
        self.warm = None
        self.loaders = {}

    def run(self, task, setting):
        if torch.get_num_threads() != task["threads"]:
            torch.set_num_threads(task["threads"])
        work = getattr(self, task["kind"])(task, setting)
        about = [task[name] for name in ("kind", "topology", "threads", "precision")]
        key = json.dumps([*about, task.get("rows"), task.get("steps"), setting])
        if self.warm != key:
            work(True)
        self.warm = key
        return work(False)

    def forward(self, task, setting):
        model, x = self.networks.get(task["topology"], task, setting), images(task["input"], "input", task, setting)
        # What is compiled is compiled without gradients; inference mode helps what is not.
        mode = torch.inference_mode if setting.startswith("eager") else torch.no_grad

        def work(_):
            with Clock(x.device) as clock, mode(), autocast(task):
                logits = model(x)
            return clock.answer(logits=logits[0].double().tolist())

        return work

    def gradient(self, task, setting):
        model, x = self.networks.get(task["topology"], task, setting), images(task["input"], "input", task, setting)
        x.requires_grad_()

        def work(_):
            with Clock(x.device) as clock:
                with autocast(task):
                    logits = model(x)
                (gradient,) = torch.autograd.grad(logits[:, task["class"]].sum(), x)
            return clock.answer(logits=logits[0].double().tolist(), norm=float(gradient[0].double().norm()))

        return work

    def training(self, task, setting):
        model, x = self.networks.get(task["topology"], task, setting), images(task["input"], "input", task, setting)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

        def work(_):
            model.zero_grad(set_to_none=True)
            with Clock(x.device) as clock:
                with autocast(task):
                    logits = model(x).float()
                labels = torch.arange(len(logits), device=x.device) % logits.shape[1]
                torch.nn.functional.cross_entropy(logits, labels).backward()
            norm = sum(float(parameter.grad.double().square().sum()) for parameter in parameters) ** 0.5
            return clock.answer(logits=logits[0].double().tolist(), norm=norm)

        return work

    def map(self, task, setting):
        model = self.networks.get(task["topology"], task, setting)
        x, start = (images(task["ends"], name, task, setting) for name in ("input", "baseline"))
        at_once = int(setting.split(", ")[2].split()[0])

        def output(x):
            logits = model(x).float()
            if task["class"] is not None:
                return logits[:, task["class"]]
            return torch.logsumexp(logits[:, 2:], 1) - torch.logsumexp(logits[:, :2], 1)

        explain = IntegratedGradients(output)

        def work(warming):
            # A whole batch, and the rest that comes last.
            steps = at_once + task["steps"] % at_once if warming else task["steps"]
            with Clock(x.device) as clock, autocast(task):
                # Its default rule is Gauss-Legendre, its default number of steps 50.
                found = explain.attribute(x, start, n_steps=steps, internal_batch_size=at_once)
            if not warming:
                save_file({"map": found[0].permute(1, 2, 0).float().cpu().contiguous().numpy()}, task["map"])
            return clock.answer()

        return work

    def grade(self, task, setting):
        models = [self.networks.get(topology, task, setting) for topology in task["topologies"]]
        files, layout = tuple(task["files"]), LAYOUTS[setting.split(", ")[1]]
        if files not in self.loaders:
            self.loaders = {files: loader(files, task["threads"])}
        device = device_of(task)
        mode = torch.inference_mode if setting.startswith("eager") else torch.no_grad

        def work(_):
            with Clock(device) as clock, mode(), autocast(task):
                for batch in self.loaders[files]:
                    batch = batch.to(device, memory_format=layout)
                    logits = [model(batch).cpu() for model in models]
            return clock.answer(logits=logits[0][0].double().tolist())

        return work


def about():
    isa = torch.backends.cpu.get_cpu_capability()
    return {"name": f"PyTorch {torch.__version__} ({isa}), Captum {captum.__version__}"}


def main():
    # Only answers go to stdout, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # A card's convolutions of f32 would be of TF32, whose maps are a tenth off, and by the first algorithm, not the fastest.
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True
    bench = Bench()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            match request["ask"]:
                case "about":
                    answer = about()
                case "settings":
                    answer = settings(request["task"], request["quick"])
                case "run":
                    answer = bench.run(request["task"], request["setting"])
                case other:
                    answer = {"error": f"nobody knows how to {other}"}
        except Exception as error:  # Whatever a library cannot do is an answer; the next request may be another matter.
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
