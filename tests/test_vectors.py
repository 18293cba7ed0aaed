"""Golden vectors: spread evenly, right where an implementation is right, and checked in C++."""

import json
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from adapters.executor import load
from adapters.interface import Array, BatchNormAdapter, State
from adapters.numpy_reference import NumpyReference
from conformance.diagnosis_facts import crossed
from conformance.families import FAMILIES
from conformance.vectors import Vector, export, vectors
from tests._commands import invoke

COUNT = 44
#: A batch normalization in C++, with a mistake where FAULT is defined.
NORM = """
#include <cmath>
#include "vectors.hpp"

int main(int, char** argv) {
    const std::string folder = argv[1], inputs = file(folder + "/inputs.bin");
    std::vector<double> results = doubles(folder + "/expected.bin");
    for (const Vector& v : read_vectors(folder)) {
        const auto input = [&](const char* name, std::size_t i, float otherwise) {
            const auto found = v.inputs.find(name);
            if (found == v.inputs.end()) return otherwise;
            return reinterpret_cast<const float*>(inputs.data() + found->second.start)[i];
        };
        std::vector<std::size_t> channel(v.inputs.at("x").count);
        std::size_t channels = 1;
        for (std::size_t i = 0; i < channel.size(); ++i) {
            std::size_t rest = i, stride = 1;
            for (std::size_t d = v.shape.size(); d-- > 0; rest /= v.shape[d])
                for (std::size_t axis : v.axis)
                    if (axis == d) { channel[i] += stride * (rest % v.shape[d]); stride *= v.shape[d]; }
            channels = stride;
        }
        for (std::size_t c = 0; c < channels; ++c) {
            double mean = 0, variance = 0, count = 0;
            for (std::size_t i = 0; i < channel.size(); ++i)
                if (channel[i] == c) { mean += input("x", i, 0); count += 1; }
            mean /= count;
            for (std::size_t i = 0; i < channel.size(); ++i)
                if (channel[i] == c) variance += std::pow(input("x", i, 0) - mean, 2) / count;
            if (v.op == "infer") { mean = input("moving_mean", c, 0); variance = input("moving_variance", c, 1); }
#ifdef FAULT
            const double r = 1 / (std::sqrt(variance) + v.epsilon);
#else
            const double r = 1 / std::sqrt(variance + v.epsilon);
#endif
            for (std::size_t i = 0; i < channel.size(); ++i)
                if (channel[i] == c)
                    results[v.outputs.at("y").start + i] =
                        static_cast<float>(input("gamma", c, 1) * (input("x", i, 0) - mean) * r + input("beta", c, 0));
        }
    }
    std::ofstream(argv[2], std::ios::binary)
        .write(reinterpret_cast<const char*>(results.data()), results.size() * sizeof(double));
}
"""


@cache
def exported(dtype: str = "float32") -> tuple[Vector, ...]:
    """A few vectors."""
    return tuple(vectors(COUNT, dtype, 1))


def computed(vector: Vector, adapter: BatchNormAdapter) -> dict[str, Array]:
    """What an adapter makes of a vector's inputs."""
    spec, given = vector.spec, vector.inputs
    state = State(given.get("gamma"), given.get("beta"), given["moving_mean"], given["moving_variance"])
    layer = adapter.build(spec, state)
    x, dy = crossed(given["x"]), crossed(given["dy"]) if "dy" in given else None
    step = layer.train(x, dy) if vector.op == "train" else layer.infer(x, dy)
    after = layer.state()
    found = {**step._asdict(), "moving_mean": after.moving_mean, "moving_variance": after.moving_variance}
    return {name: a for name, a in found.items() if a is not None}


def wrong(vector: Vector, adapter: BatchNormAdapter) -> list[str]:
    """The results that are off by more than is allowed."""
    found = computed(vector, adapter)
    bad = []
    with np.errstate(all="ignore"):
        for name in vector.expected.keys() & found.keys():
            got, expected = found[name].astype(np.float64), vector.expected[name]
            right = (np.abs(got - expected) <= vector.allowed[name]) | (got == expected) | np.isnan(expected)
            bad += [] if (right | np.isinf(vector.allowed[name])).all() else [name]
    return bad


def test_evenly_over_the_families() -> None:
    """Every family has its share, training and inference occur, all outputs are bounded somewhere."""
    found = exported()
    by_family = Counter(vector.name[0] for vector in found)

    assert len(found) == COUNT
    assert len({vector.name for vector in found}) == COUNT
    assert set(by_family) == {str(family) for family in FAMILIES}
    assert max(by_family.values()) - min(by_family.values()) <= 1
    assert {vector.op for vector in found} == {"train", "infer"}
    assert {name for vector in found for name in vector.expected} == {
        *("y", "dx", "dgamma", "dbeta"),
        *("moving_mean", "moving_variance", "moving_variance_unbiased"),
    }
    for vector in found:
        assert all(vector.allowed[name].shape == a.shape for name, a in vector.expected.items())
        assert vector.expected["y"].shape == vector.inputs["x"].shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_right_and_wrong_implementations(dtype: str) -> None:
    """The reference is right on all vectors; one with another epsilon is wrong on many."""
    found = exported(dtype)
    faulty = load("conformance.zoo.epsilon:EpsilonOutsideRoot")

    assert {v.name: wrong(v, NumpyReference()) for v in found if wrong(v, NumpyReference())} == {}
    assert sum(bool(wrong(v, faulty)) for v in found) > COUNT / 4


def test_files(tmp_path: Path) -> None:
    """The .npz and the raw files hold the same arrays; the JSON is JSON."""
    export(list(exported()), tmp_path)
    described = json.loads((tmp_path / "vectors.json").read_text(encoding="utf-8"))
    inputs = (tmp_path / "inputs.bin").read_bytes()
    expected, allowed = (np.fromfile(tmp_path / f"{name}.bin", "<f8") for name in ("expected", "allowed"))

    assert described["count"] == len(described["vectors"]) == COUNT
    with np.load(tmp_path / "vectors.npz") as arrays:
        for one in described["vectors"]:
            for name, (start, count) in one["inputs"].items():
                a = arrays[f"{one['name']}/inputs/{name}"]
                assert np.array_equal(np.frombuffer(inputs, a.dtype, count, start), a.reshape(-1), equal_nan=True)
            for name, (start, count) in one["outputs"].items():
                for kind, whole in (("expected", expected), ("allowed", allowed)):
                    a = arrays[f"{one['name']}/{kind}/{name}"]
                    assert np.array_equal(whole[start : start + count], a.reshape(-1), equal_nan=True)


def test_in_cpp(tmp_path: Path) -> None:
    """The shipped C++ reads the vectors; it finds a right implementation in C++ right and a wrong one wrong."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine: the C++ reader and checker were NOT tested")
    export(list(exported()), tmp_path)
    (tmp_path / "norm.cpp").write_text(NORM, encoding="utf-8")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    built = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    for name, options in (("check_vectors", []), ("norm", []), ("norm", ["-DFAULT"])):
        made = run(*built, *options, "-o", name + "".join(options), f"{name}.cpp")
        assert made.returncode == 0, made.stderr
    for program, code in (("norm", 0), ("norm-DFAULT", 1)):
        assert run(f"./{program}", ".", "got.bin").returncode == 0
        checked = run("./check_vectors", ".", "got.bin", "y")
        assert checked.returncode == code, checked.stdout
        assert checked.stdout.splitlines()[-1].endswith(f"of {COUNT} arrays wrong")
        assert (" y: " in checked.stdout) == bool(code)
    assert run("./check_vectors", ".", "vectors.json").returncode == 2
    assert run("./check_vectors", ".").returncode == 2


def test_the_command(tmp_path: Path) -> None:
    """The command writes the folder and says so; a folder that cannot be written is a usage error."""
    done = invoke("export-vectors", "-n", "8", "--dtype", "bfloat16", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "8 vectors of bfloat16" in done.out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("vectors.npz", "vectors.json", "inputs.bin", "expected.bin", "allowed.bin"),
        *("vectors.hpp", "check_vectors.cpp"),
    }
    (tmp_path / "file").write_text("")
    assert invoke("export-vectors", "-n", "1", "-o", tmp_path / "file").code == 2
