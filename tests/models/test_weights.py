"""Weights are read as data, and loaded whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcls
from ppcls.cli import main
from ppcls.errors import RunError, WeightsError
from ppcls.files import replacing
from ppcls.models.weight_files import read_pickle, read_weights, write_weights
from ppcls.models.weights import load_weights, save_weights


def small(class_num: int = 4):
    return ppcls.create_model("SqueezeNet1_1", class_num=class_num)


def same(a, b) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all((ours[k].numpy() == theirs[k].numpy()).all() for k in ours)


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_what_is_saved_loads(tmp_path: Path, suffix: str) -> None:
    model, other = small(), small()
    save_weights(model, tmp_path / "weights.pdparams")
    assert not same(model, other)
    assert load_weights(other, tmp_path / f"weights{suffix}") == []
    assert same(model, other)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pdparams"]


def test_weights_saved_by_paddle_itself_load_the_published_way(tmp_path: Path) -> None:
    model, other = small(), small()
    paddle.save(model.state_dict(), str(tmp_path / "w.pdparams"))
    load_weights(other, tmp_path / "w.pdparams")
    assert same(model, other)
    # Files of older versions are pickles of a name table and arrays, written with protocol 2.
    old = OrderedDict((k, v.numpy()) for k, v in model.state_dict().items())
    old["StructuredToParameterName@@"] = {k: f"conv2d_{i}" for i, k in enumerate(old)}
    (tmp_path / "old.pdparams").write_bytes(pickle.dumps(old, protocol=2))
    other = small()
    load_weights(other, tmp_path / "old")
    assert same(model, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x.pdparams: not a weights file, or damaged \(0 bytes\); delete it, and copy or"),
        (
            b"not a pickle",
            r"x.pdparams: not a weights file, or damaged \(12 bytes\); delete it, and copy",
        ),
        (pickle.dumps([1, 2]), "expected a map of names to arrays"),
        (pickle.dumps({"a": 1}), "expected a map of names to arrays"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pdparams").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "x.pdparams")
    with pytest.raises(WeightsError, match=r"no such weights: .*gone"):
        read_weights(tmp_path / "gone")


def test_another_number_of_classes(tmp_path: Path) -> None:
    save_weights(small(4), tmp_path / "four.pdparams")
    model = small(7)
    before = model.state_dict()["_conv9.weight"].numpy().copy()
    with pytest.raises(
        WeightsError, match=r"4 classes, but the model has 7; set Arch\.class_num=4"
    ):
        load_weights(model, tmp_path / "four")
    (note,) = load_weights(model, tmp_path / "four", adapt=True)
    assert "4 classes in the file, 7 in the model: _conv9 is untrained" in note
    after = model.state_dict()
    assert (after["_conv9.weight"].numpy() == before).all()
    stored = read_weights(tmp_path / "four")
    assert (after["_conv1._conv._conv.weight"].numpy() == stored["_conv1._conv._conv.weight"]).all()


def test_weights_of_another_model_are_refused_whole(tmp_path: Path) -> None:
    save_weights(ppcls.create_model("HarDNet39_ds", class_num=4), tmp_path / "hardnet.pdparams")
    model, twin = small(), small()
    twin.set_state_dict(model.state_dict())
    with pytest.raises(
        WeightsError, match=r"another model than SqueezeNet1_1: .*52 missing \(_conv"
    ):
        load_weights(model, tmp_path / "hardnet")
    state = read_weights(tmp_path / "hardnet")
    assert len(state) > 300
    assert same(model, twin)


def test_a_failed_write_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fill_the_disk() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="file: cannot write: No space left"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors", ".npz"])
def test_every_format_holds_the_same_and_paddle_reads_ours(tmp_path: Path, suffix: str) -> None:
    state = {key: value.numpy() for key, value in small().state_dict().items()}
    path = tmp_path / f"w{suffix}"
    write_weights(state, path)
    again = read_weights(path)
    assert again.keys() == state.keys()
    assert all((again[k] == state[k]).all() for k in state)
    if suffix == ".pdparams":
        theirs = paddle.load(str(path))
        assert all((np.asarray(theirs[k]) == state[k]).all() for k in state)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a weights file, or damaged"):
        read_weights(path)
    with pytest.raises(WeightsError, match="the suffix of a weights file must be"):
        write_weights(state, tmp_path / "w.bin")


def test_convert_goes_between_the_formats(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_weights(small(), tmp_path / "a.pdparams")
    steps = ["a.pdparams", "b.safetensors", "c.npz", "d.pdparams"]
    for source, target in itertools.pairwise(steps):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
    first, last = read_weights(tmp_path / "a.pdparams"), read_weights(tmp_path / "d.pdparams")
    assert all((first[k] == last[k]).all() for k in first)
    assert main(["convert", str(tmp_path / "a.pdparams"), str(tmp_path / "c.npz")]) == 2
    assert "c.npz exists; add --overwrite" in capsys.readouterr().err


FULL = {
    "matrix": np.arange(300, dtype="f4").reshape(10, 30),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "turned": np.arange(24, dtype="f4").reshape(2, 3, 4).transpose(1, 0, 2),
    "half": np.array([1, 2], "f2"),
    "none": np.zeros((0, 3), "f4"),
    "scalar": np.array(3.0, "f4"),
    "big_endian": np.arange(5, dtype=">f4"),
    "counts": np.arange(3),
    "flags": np.array([True, False]),
}
VALUES = {
    "epoch": 3,
    "numbers": [0.5, -7, 2**70, -(2**40), True, False, None, np.float64(2.5)],
    "text": "é\n'x' \\",
    "nested": ({"a": (1, [2])}, (), [], {}),
    "bytes": b"ab\xff",
    "ordered": OrderedDict(a=1),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_hold_the_same(tmp_path: Path, protocol: int) -> None:
    for kind in (dict, OrderedDict):
        (tmp_path / "x.pdparams").write_bytes(pickle.dumps(kind(FULL), protocol=protocol))
        found = read_weights(tmp_path / "x")
        assert found.keys() == FULL.keys()
        for key, value in found.items():
            np.testing.assert_array_equal(value, FULL[key], strict=key != "big_endian")
        found["matrix"] *= 2  # arrays belong to the caller
    (tmp_path / "x.pdstates").write_bytes(pickle.dumps(VALUES, protocol=protocol))
    assert read_pickle(tmp_path / "x.pdstates") == VALUES


@pytest.mark.parametrize(
    "raw", [b"U\x08\0\0\x80?\0\0\x80\xbf", rb"S'\x00\x00\x80?\x00\x00\x80\xbf'" + b"\n"]
)
def test_pickles_of_python_2_are_read(tmp_path: Path, raw: bytes) -> None:
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\0K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89" + raw + b"tb"
    )
    content = b"\x80\x02ccollections\nOrderedDict\n]](U\x01a" + array + b"ea\x85R."
    (tmp_path / "x.pdparams").write_bytes(content)
    assert read_weights(tmp_path / "x")["a"].tolist() == [1.0, -1.0]


def length(code: str, value: int) -> bytes:
    return struct.pack(code, value)


MANY = 2**31 - 1
DAMAGED = "not a weights file, or damaged"
NUMPY = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
COPIES = b"c_codecs\nencode\nq\0X" + length("<I", 10**5) + b"a" * 10**5 + b"q\1X\6\0\0\0latin1q\2"
TWO_TO_THE_99 = b"\x80\x04)\x94" + b"".join(bytes([104, i, 104, i, 0x86, 0x94]) for i in range(99))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02Nr" + length("<I", MANY) + b".", "expected a map"),  # an index of the memo
        (b"Np99999999999\n.", "expected a map"),
        (b"Np" + b"9" * 10**6 + b"\n.", DAMAGED),
        (b"\x80\x04\x8e" + length("<Q", 10**11) + b".", DAMAGED),
        (b"\x80\x04\x8d" + length("<Q", 2**63) + b".", DAMAGED),
        (b"\x80\x05\x96" + length("<Q", 10**12) + b".", DAMAGED),
        (b"B" + length("<I", MANY) + b".", DAMAGED),
        (b"T" + length("<i", -1) + b".", DAMAGED),
        (b"\x8b" + length("<i", 10**6) + b"\1" * 10**6 + b".", "refused: the pickle opcode LONG4"),
        (b"L" + b"9" * 10**6 + b"L\n.", DAMAGED),
        (b"I" + b"9" * 5000 + b"\n.", DAMAGED),
        (b"]" * 50 + b"a" * 49 + b".", "nested more than 32 deep"),
        (b"\x80\x02)" + b"\x85" * 3000 + b".", "nested more than 32 deep"),
        (b"\x80\x02})" + b"\x85" * 3000 + b"Ns.", DAMAGED),  # as a key, to be hashed
        (TWO_TO_THE_99 + b".", "nested more than 32 deep"),
        (b"]\x94(" + b"N" * 2000 + b"e0](" + b"h\0" * 2000 + b"e.", "or endlessly"),
        (b"}\x94\x8c\1ah\0s.", "or endlessly"),
        (COPIES + b"h\0h\1h\2\x86R" * 5000 + b".", "more than twice the size of the file"),
        (b"c_codecs\nencode\nX\1\0\0\0aX\4\0\0\0idna\x86R.", DAMAGED),
        (NUMPY + b"J" + length("<i", MANY) + b"\x85C\1b\x87R.", DAMAGED),
        (b"\x80\x02cnumpy\nndarray\nJ" + length("<i", MANY) + b"\x85\x85R.", DAMAGED),
        (b"\x80\x02cnumpy\nndarray\nK\1\x85\x85\x81.", "refused: the pickle opcode NEWOBJ"),
        (b"cnumpy\ndtype\nX\4\0\0\0S999\x85R.", "refused: an array of dtype 'S999'"),
        (b"cnumpy\ndtype\nX\1\0\0\0O\x85R.", "refused: an array of dtype 'O'"),
        (b"cbuiltins\neval\n(S'1'\ntR.", r"asks to run builtins\.eval"),
        (b"c\x1b[31mos\nsys\x07tem\n.", r"asks to run \\x1b\[31mos\.sys\\x07tem,"),
        (b"c" + b"x" * 10**6 + b"\ny\n.", r"asks to run x{100},"),
        (b"(ios\nsystem\n.", r"asks to run os\.system"),
        (b"\x82\1.", "refused: the pickle opcode EXT1"),
        (b"Pabc\n.", "refused: the pickle opcode PERSID"),
        (b"cnumpy.core.numeric\n_frombuffer\nN}X\1\0\0\0aK\1s\x86b.", DAMAGED),
        (b"cnumpy\nndarray\n.", DAMAGED),
        (b"<!DOCTYPE html>", "a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\3\4", "a zip archive: rename it if it is an .npz"),
    ],
)
def test_no_size_in_a_pickle_is_believed(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pdparams").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message):
            read_weights(tmp_path / "x.pdparams")
        assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    finally:
        tracemalloc.stop()


def test_the_number_of_steps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppcls.models.array_pickle.MAX_OPCODES", 1000)
    (tmp_path / "x.pdparams").write_bytes(b"N0" * 501)
    with pytest.raises(WeightsError, match="refused: more than 1,000 pickle opcodes"):
        read_weights(tmp_path / "x")


def test_one_array_under_many_names_is_bounded(tmp_path: Path) -> None:
    one = np.zeros(10**6, "f4")
    (tmp_path / "few.pdparams").write_bytes(pickle.dumps(dict.fromkeys("ab", one)))
    assert len(read_weights(tmp_path / "few")) == 2
    names = [str(i) for i in range(300)]
    (tmp_path / "many.pdparams").write_bytes(pickle.dumps(dict.fromkeys(names, one)))
    with pytest.raises(WeightsError, match="claim 1,200,000,000 bytes; a file of this size may"):
        read_weights(tmp_path / "many")


def npy(shape: tuple[int, ...], dtype: str = "<f4", body: bytes = b"") -> bytes:
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + length("<H", len(header)) + header + body


def tensors(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return length("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.npy", npy((10**11,)), DAMAGED),
        ("w.npy", npy((-1, -1), body=b"1234"), DAMAGED),
        ("w.npy", npy((10**15,), "|S0"), r"w is \|S0; expected an array of numbers"),
        ("w.npy", npy((1,), "|O", pickle.dumps([1])), "w is object; expected an array of numbers"),
        ("w.npy", b"\x93NUMPY\1\0" + length("<H", 9000) + b"(" * 9000, DAMAGED),
        ("w.npy", b"\x93NUMPY\2\0" + length("<I", MANY) + b" " * 9000, DAMAGED),
        ("w.npy", b"", DAMAGED),
        ("word/document.xml", b"<w/>", "a zip archive with 'word/document.xml', which is not an"),
    ],
)
def test_no_size_in_an_npz_is_believed(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "x.npz")


def test_archives_that_unpack_to_too_much_or_cannot_be_unpacked_are_named(tmp_path: Path) -> None:
    write_weights({"w": np.zeros(4, "f4")}, tmp_path / "x.npz")
    good = (tmp_path / "x.npz").read_bytes()
    entry = good.index(b"PK\1\2")
    sizes = struct.pack("<I", 2**31 - 1)
    for at, value in (
        ((6, entry + 8), b"\1"),  # encrypted
        ((8, entry + 10), b"\x63"),  # another compression
        ((entry + 24,), sizes),  # its size
    ):
        bad = bytearray(good)
        for place in at:
            bad[place : place + len(value)] = value
        (tmp_path / "x.npz").write_bytes(bad)
        message = "its arrays claim 2,147,483,647 bytes" if value == sizes else DAMAGED
        with pytest.raises(WeightsError, match=message):
            read_weights(tmp_path / "x.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(WeightsError, match=DAMAGED):
        read_weights(tmp_path / "array.npz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *[
            (
                tensors(
                    {"w": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}}, b"0" * size
                ),
                f"'w' is {dtype}; expected F64, F32, F16 or integers; save the weights as F32",
            )
            for dtype, size in (("F8_E4M3", 2), ("F8_E5M2", 2), ("BF16", 4), ("C64", 16))
        ],
        (tensors({"w": {"dtype": "X9", "shape": [2], "data_offsets": [0, 2]}}, b"12"), DAMAGED),
        (length("<Q", 2**40) + b"{}", DAMAGED),
        (tensors({"w": {"dtype": "F32", "shape": [MANY], "data_offsets": [0, 4 * MANY]}}), DAMAGED),
        (
            tensors({"w": {"dtype": "F32", "shape": [2**40] * 2, "data_offsets": [0, 4]}}, b"1234"),
            DAMAGED,
        ),
        (length("<Q", 10**5) + b"[" * 10**5, DAMAGED),
        (tensors([1]), DAMAGED),
        (b"", DAMAGED),
    ],
)
def test_no_size_in_a_safetensors_file_is_believed(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("read", [read_weights, read_pickle])
def test_paths_that_are_no_files_are_named(tmp_path: Path, read: Callable) -> None:
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "loop").symlink_to("loop")
    for path in (
        *("a\0b", "\ud800", "x" * 5000, "", ".", "/", "~nobody_of_that_name/x"),
        *("/dev/zero", "/proc/self/mem", tmp_path, tmp_path / "fifo.npz", tmp_path / "loop"),
    ):
        with pytest.raises(WeightsError):
            read(path)


def test_what_a_format_cannot_hold_is_named_and_nothing_written(tmp_path: Path) -> None:
    ones = np.ones(2, "f4")
    for suffix in (".pdparams", ".safetensors", ".npz"):
        path = tmp_path / f"w{suffix}"
        state = {"file": ones, "allow_pickle": ones, "a/../b": ones, "": ones}
        write_weights(state, path)
        assert read_weights(path).keys() == state.keys()
        path.unlink()
        for key, value in (("w", np.array([None])), ("w", np.array(["a"])), ("a\0b", ones)):
            with pytest.raises(WeightsError, match="cannot store"):
                write_weights({key: value}, path)
        if suffix != ".pdparams":
            with pytest.raises(WeightsError, match=r"cannot write the weights: .*surrogates"):
                write_weights({"\ud800": ones}, path)
        assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    model = small()
    good = {key: value.numpy() for key, value in model.state_dict().items()}
    bias = "_conv1._conv._conv.bias"
    for value, dtype, what in (
        (np.nan, "f4", "are NaN or infinite"),
        (-np.inf, "f2", "are NaN or infinite"),
        (1e39, "f8", "exceed the range of float32"),
    ):
        bad = good[bias].astype(dtype)
        bad[:3] = value
        write_weights(good | {bias: bad}, tmp_path / "w.pdparams")
        for strict in (True, False):
            with pytest.raises(WeightsError, match=rf"3 of 16 values of {bias} {what}; use other"):
                load_weights(model, tmp_path / "w", strict=strict)
    assert all((model.state_dict()[k].numpy() == v).all() for k, v in good.items())
    # A layer that is not taken over may hold anything.
    other = good | {"_conv9.bias": np.full(9, np.nan, "f4")}
    write_weights(other, tmp_path / "w.pdparams")
    assert "_conv9 is untrained" in load_weights(model, tmp_path / "w", adapt=True)[0]


def test_a_command_blames_the_weights_and_not_the_images(
    config_file: Path,
    overrides: list[str],
    colours: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    state = {key: value.numpy() for key, value in small(3).state_dict().items()}
    weights = tmp_path / "w.pdparams"
    options = ["-c", str(config_file), "-o", *overrides, f"Global.pretrained_model={weights}"]
    infer = ["infer", *options, f"Infer.infer_imgs={colours / 'red'}"]

    write_weights(state | {"_conv9.bias": np.full(3, np.nan, "f4")}, weights)
    for command in (infer, ["eval", *options], ["export", *options], ["train", *options]):
        assert main(command) == 1
        assert "3 of 3 values of _conv9.bias are NaN or infinite" in capsys.readouterr().err

    # Finite, but not what the network computes from them.
    state["_conv9.weight"][:] = state["_conv9.bias"][:] = 3e38
    write_weights(state, weights)
    assert main(infer) == 1
    found = capsys.readouterr()
    assert "its weights are at fault" in json.loads(found.out.splitlines()[0])["error"]
    assert "images: the network's output is not finite" in found.err
    assert "could not be read" not in found.err


def test_bfloat16_is_named(tmp_path: Path) -> None:
    state = {key: value.numpy() for key, value in small().state_dict().items()}
    state["_conv.bias"] = np.zeros(64, "u2")
    write_weights(state, tmp_path / "w.pdparams")
    with pytest.raises(WeightsError, match=r"_conv.bias is uint16 \(Paddle's bfloat16: convert it"):
        load_weights(small(), tmp_path / "w")


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt", ".pdstates"])
def test_every_kind_of_pickle_is_read_without_running_it(tmp_path: Path, suffix: str) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'was_here'}",)

    path = tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps({"epoch": 3, "state": [Evil()]}))
    with pytest.raises(WeightsError, match=r"refused: the file asks to run posix\.system"):
        read_pickle(path)
    assert not (tmp_path / "was_here").exists()
    # What an optimizer of Paddle writes: arrays, numbers and maps of them.
    model = small()
    optimizer = paddle.optimizer.Momentum(
        paddle.optimizer.lr.CosineAnnealingDecay(0.1, 5), parameters=model.parameters()
    )
    model(paddle.randn([1, 3, 32, 32])).sum().backward()
    optimizer.step()
    paddle.save(optimizer.state_dict(), str(path))
    state = read_pickle(path)
    assert state["LR_Scheduler"]["last_lr"] == 0.1
    assert sum(isinstance(value, np.ndarray) for value in state.values()) == 52


def test_weights_from_within_data_parallel_load(tmp_path: Path) -> None:
    model, other = small(), small()
    state = {f"_layers.{k}": v.numpy() for k, v in model.state_dict().items()}
    write_weights(state, tmp_path / "parallel.pdparams")
    load_weights(other, tmp_path / "parallel")
    assert same(model, other)


def test_what_does_not_fit_is_skipped_only_when_asked(tmp_path: Path) -> None:
    model, other = small(), small()
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    del state["_conv1._conv._conv.bias"]
    state["_conv2._conv._conv.bias"] = np.zeros(3, "float32")
    state["extra"] = np.zeros(3, "float32")
    write_weights(state, tmp_path / "w.pdparams")
    before = {k: v.numpy().copy() for k, v in other.state_dict().items()}
    with pytest.raises(WeightsError) as raised:
        load_weights(other, tmp_path / "w")
    for part in (
        "1 missing (_conv1._conv._conv.bias)",
        "1 unexpected (extra)",
        "1 of another shape (_conv2._conv._conv.bias)",
    ):
        assert part in str(raised.value)
    (note,) = load_weights(other, tmp_path / "w", strict=False)
    assert "not loaded: of 52 keys, 1 missing" in note
    after = other.state_dict()
    assert (after["_conv.weight"].numpy() == state["_conv.weight"]).all()
    assert (after["_conv2._conv._conv.bias"].numpy() == before["_conv2._conv._conv.bias"]).all()


@pytest.mark.parametrize("in_channels", [1, 4, 6])
def test_the_stem_is_adapted_to_other_input_channels(tmp_path: Path, in_channels: int) -> None:
    model = small()
    model.eval()
    save_weights(model, tmp_path / "w.pdparams")
    with pytest.warns(UserWarning, match=f"from 3 input channels to {in_channels}"):
        other = ppcls.create_model(
            "SqueezeNet1_1", class_num=4, in_channels=in_channels, pretrained=tmp_path / "w"
        )
    other.eval()
    gray = paddle.randn([1, 1, 64, 64])
    if in_channels != 4:  # four channels weigh the three colours unevenly
        expected = model(gray.expand([1, 3, 64, 64])).numpy()
        found = other(gray.expand([1, in_channels, 64, 64])).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    stem, ours = (m.state_dict()["_conv.weight"].numpy() for m in (model, other))
    turns = {1: [0], 4: [0, 1, 2, 0], 6: [0, 1, 2] * 2}[in_channels]
    expected = stem.sum(1, keepdims=True) if in_channels == 1 else stem[:, turns] * 3 / in_channels
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    message = f"take images of 3 channels, but the model takes {in_channels}; set Global.in_cha"
    with pytest.raises(WeightsError, match=message):
        load_weights(other, tmp_path / "w")


@pytest.mark.large
def test_published_weights_are_asked_for_by_name_or_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str) -> Path:
        asked.append(url)
        raise WeightsError("offline")

    monkeypatch.setattr("ppcls.models.weights.fetch", fetch)
    for name, pretrained in (
        ("HarDNet39_ds", True),
        ("HRNet_W18_C", True),
        ("HRNet_W18_C", "ssld"),
        ("AlexNet", "https://example.org/x.pdparams"),
    ):
        with pytest.raises(WeightsError, match="offline"):
            ppcls.create_model(name, pretrained=pretrained)
    base = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"
    assert asked == [
        f"{base}/HarDNet39_ds_pretrained.pdparams",
        f"{base}/legendary_models/HRNet_W18_C_pretrained.pdparams",
        f"{base}/legendary_models/HRNet_W18_C_ssld_pretrained.pdparams",
        "https://example.org/x.pdparams",
    ]
    for name, pretrained in (("HRNet_W60_C", True), ("SE_HRNet_W30_C", True), ("AlexNet", "ssld")):
        with pytest.raises(WeightsError, match=name):
            ppcls.create_model(name, pretrained=pretrained)
    assert len(asked) == 4


REAL = """\
Global: {{pretrained_model: {weights}}}
Arch: {{name: SqueezeNet1_1}}
DataLoader:
  Eval:
    dataset:
      image_root: {images}
      cls_label_path: {images}/val_list.txt
      transform_ops:
        - DecodeImage:
        - ResizeImage: {{resize_short: 256}}
        - CropImage: {{size: 224}}
        - NormalizeImage:
    sampler: {{batch_size: 25}}
"""


@pytest.mark.large
def test_real_weights_reach_their_accuracy_on_real_images(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = shared / "data/weights/SqueezeNet1_1.npz"
    text = REAL.format(weights=weights, images=shared / "data/imagenet_sample")
    (tmp_path / "real.yaml").write_text(text)
    assert main(["eval", "-c", str(tmp_path / "real.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 100
    assert found["top1"] == pytest.approx(0.63, abs=0.01)
    assert found["top5"] == pytest.approx(0.83, abs=0.01)
