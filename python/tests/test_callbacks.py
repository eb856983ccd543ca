"""Callbacks, Ctrl-C, threads and the log."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import FAST, MODELS

import tessera


def test_a_callback_sees_every_step(emoji):
    steps = []
    made = emoji(callback=steps.append, num_images_per_prompt=2, seed=3, **FAST)
    assert [step.step for step in steps] == [1, 2, 3, 4] and {step.steps for step in steps} == {4}
    assert [step.evaluations for step in steps] == [2, 4, 6, 8]
    open_cells = [int((step.tokens == tessera.MASK).sum()) for step in steps]
    assert (
        steps[0].tokens.shape == (2, 16, 16) and open_cells == sorted(open_cells, reverse=True) and open_cells[-1] == 0
    )
    assert np.array_equal(steps[-1].tokens, made.tokens)


def test_a_callback_in_the_manner_of_diffusers(emoji):
    seen = []

    def on_step_end(pipe, index, timestep, callback_kwargs):
        seen.append((pipe is emoji, index, timestep, callback_kwargs["tokens"].shape))
        return callback_kwargs

    emoji(callback_on_step_end=on_step_end, **FAST)
    assert seen == [(True, i, 3 - i, (1, 16, 16)) for i in range(4)]


@pytest.mark.parametrize("result", [False, np.False_])
def test_false_stops(emoji, result):
    seen = []
    with pytest.raises(tessera.Stopped):
        emoji(callback=lambda step: seen.append(step.step) or (result if step.step == 2 else None), **FAST)
    assert seen == [1, 2]


@pytest.mark.parametrize("result", [None, True, 0, "", {}, []])
def test_nothing_else_stops(emoji, result):
    assert len(emoji(callback=lambda step: result, **FAST).images) == 1


def test_an_exception_comes_out_of_the_call(emoji):
    class Mine(Exception):
        pass

    def callback(step):
        if step.step == 2:
            raise Mine("of the callback")

    with pytest.raises(Mine, match="of the callback") as caught:
        emoji(callback=callback, **FAST)
    assert any(entry.name == "callback" for entry in caught.traceback)
    assert len(emoji(**FAST).images) == 1


def test_a_callback_may_call_the_model(emoji, made):
    inner = []
    emoji(callback=lambda step: inner.append(emoji.decode(made.tokens)) or True, sampler="confidence", steps=2)
    assert len(inner) == 2


def test_edits_take_callbacks(emoji, made):
    image, steps = made.images[0], []
    emoji.inpaint(image, box=(0, 0, 32, 32), callback=steps.append, **FAST)
    emoji.outpaint(image, left=16, callback=steps.append, **FAST)
    emoji.variations(image, callback=steps.append, **FAST)
    emoji.stitch([tessera.Piece(image, (32, 0))], width=96, height=64, callback=steps.append, **FAST)
    emoji.fill(np.full((16, 16), -1), callback=steps.append, **FAST)
    emoji.keep(image, box=(0, 0, 32, 32), callback=steps.append, **FAST)
    assert [step.step for step in steps] == [1, 2, 3, 4] * 6


@pytest.mark.parametrize("callback", [None, lambda step: None])
def test_ctrl_c_stops_a_fill_at_its_next_step(emoji, callback):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        emoji(num_images_per_prompt=16, sampler="ancestral", steps=256, callback=callback)
    assert time.monotonic() - begin < 30
    timer.join()
    assert len(emoji(**FAST).images) == 1


def test_other_threads_run_while_it_computes(emoji):
    done = threading.Event()

    def compute():
        emoji(seed=1, sampler="confidence", steps=8)
        done.set()

    thread = threading.Thread(target=compute)
    thread.start()
    count = 0
    while not done.is_set():
        count += 1
        time.sleep(0.001)
    thread.join()
    assert count > 20


def test_threads_may_share_a_model(emoji):
    alone = [emoji(seed=seed, **FAST).tokens for seed in range(4)]
    together = [None] * 4

    def compute(seed):
        together[seed] = emoji(seed=seed, callback=lambda step: None, **FAST).tokens

    threads = [threading.Thread(target=compute, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(alone, together))


def test_each_thread_has_its_own_error(emoji):
    messages = {}

    def fail(name):
        for _ in range(20):
            try:
                emoji(**{name: 1})
            except tessera.UsageError as error:
                messages.setdefault(name, set()).add(str(error).split(",")[0])

    threads = [threading.Thread(target=fail, args=(f"bogus{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert messages == {f"bogus{i}": {f"no option 'bogus{i}'"} for i in range(4)}


def test_the_log_is_a_logger(caplog, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name in list(pictures.glob("*.png"))[:2]:
        (tmp_path / name.name).write_bytes(name.read_bytes())
    with caplog.at_level(logging.DEBUG, logger="tessera"):
        tessera.Dataset(tmp_path, 32, split="all")
    assert any(r.levelno >= logging.WARNING and "broken.png" in r.getMessage() for r in caplog.records)
    assert all("\n" not in r.getMessage() for r in caplog.records)


def test_a_program_ends_well_with_a_model_at_hand():
    load = f"import tessera; pipe = tessera.Pipeline({str(MODELS / 'emoji64')!r})"
    script = f"{load}; print(pipe(steps=2, sampler='confidence'))"
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and ended.stderr == "" and "PipelineOutput" in ended.stdout


def test_threads_are_set():
    tessera.set_threads(1)
    tessera.set_threads(0)
    with pytest.raises(tessera.UsageError):
        tessera.set_threads(-1)
