"""The training loop: AdamW, cosine schedule, weight averaging, early stop on validation, resume after any kill."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, GateError, writing
from flawsmith.model.checkpoint import (
    load_tensors,
    named,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
    under,
)
from flawsmith.model.loss import LOSSES, Loss

CHECKPOINT = "checkpoint.safetensors"


class TrainSettings(Settings):
    """How long and how fast. `precision` "auto" uses bfloat16 autocast where the processor computes it natively."""

    steps: int = Field(default=600, ge=1)
    batch: int = Field(default=8, ge=1)
    crop: int = Field(default=192, ge=32, multiple_of=32)  # side in pixels the network sees, after downscale
    defect_crops: float = Field(default=0.6, ge=0, le=1)
    loss: Literal["sum", "adaptive", "classes"] = "sum"
    learning_rate: float = Field(default=2e-3, gt=0)
    encoder_rate: float = Field(default=0.3, ge=0, le=1)  # factor on the learning rate of a pretrained encoder
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup: int = Field(default=40, ge=0)
    average: float = Field(default=0.98, ge=0, lt=1)  # decay of the exponential moving average of the weights
    validate_every: int = Field(default=60, ge=1)
    validate_images: int = Field(default=64, ge=1)  # at most, evenly drawn from the validation split
    patience: int = Field(default=6, ge=1)  # validations without a better one before stopping
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    cache_mb: int = Field(default=2048, ge=0)


@dataclass
class State:
    """Where a run stands; with the tensors, all that a resumed run needs."""

    step: int = 0
    best: float = -1.0
    best_step: int = 0
    stale: int = 0
    done: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: the validation score is None until the first validation, `measure` its name."""

    step: int
    steps: int
    loss: float
    score: float | None
    measure: str = "IoU"


Batch = Callable[[int], tuple[np.ndarray, np.ndarray]]
Validate = Callable[[nn.Module], float]


def use_bf16(choice: str, device: torch.device) -> bool:
    """bfloat16 wins where the hardware multiplies it natively: Ampere GPUs on, CPUs with AVX512-BF16 or AMX."""
    if choice != "auto":
        return choice == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return "avx512_bf16" in cpu_flags() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_flags() -> set[str]:
    """Instruction sets of the processor, as Linux names them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return set()
    line = next((x for x in path.read_text().splitlines() if x.startswith("flags")), "")
    return set(line.partition(":")[2].split())


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    net: nn.Module,
    batch: Batch,
    validate: Validate | None,
    settings: TrainSettings,
    run: Path | None = None,
    identity: dict[str, Any] | None = None,
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    measure: str = "IoU",
    loss_of: Loss | None = None,
) -> State:
    """Fit `net` in place; it ends with the best validated averaged weights, or the last where nothing validates.

    measure:  what `validate` gives, in words
    run:      folder for the checkpoint and TensorBoard logs; None keeps nothing
    identity: JSON that must be equal for a checkpoint to be resumed (settings, data hash)
    loss_of:  of logits and the batch's targets, in place of the settings' loss

    Raises `ConfigError` when a checkpoint belongs to another run, `GateError` when the loss stops being a number.
    """
    device = next(net.parameters()).device
    if settings.threads:
        torch.set_num_threads(settings.threads)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(net).eval().requires_grad_(False)
    best = deepcopy(average)
    optimizer = torch.optim.AdamW(_groups(net, settings), weight_decay=settings.weight_decay)
    loop = _Loop(
        net, average, best, optimizer, settings, device, State(), identity or {}, loss_of or LOSSES[settings.loss]
    )
    if resume and run and (run / CHECKPOINT).exists():
        loop.restore(run / CHECKPOINT)
    log = Logs(run)
    with ThreadPoolExecutor(1) as pool:
        for images, targets in _ahead(pool, batch, loop.state, settings.steps):
            loss = loop.advance(images, targets)
            state = loop.state
            if state.step % settings.validate_every == 0 or state.step == settings.steps:
                loop.validate(validate, loss)
                log(state)
                if run:
                    loop.save(run / CHECKPOINT)
            score = state.history[-1].get("score") if state.history else None
            on_step(Progress(state.step, settings.steps, loss, score, measure))
            if state.done:
                break
    # Where no validation found anything, the first checkpoint would be as good as any: the last has learnt the most.
    net.load_state_dict((loop.best if loop.state.best > 0 else loop.average).state_dict())
    net.eval()
    return loop.state


def _groups(net: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """A parameter group for each learning rate: a module may have a `rate` of its own, a factor; pretrained ones have
    `encoder_rate`, all others 1."""
    rates = {id(p): 1.0 for p in net.parameters()}
    for module in net.modules():
        rate = getattr(module, "rate", settings.encoder_rate if getattr(module, "pretrained", False) else None)
        if rate is not None:
            rates |= {id(p): float(rate) for p in module.parameters()}
    groups = []
    for rate in sorted(set(rates.values()), reverse=True):
        mine = [p for p in net.parameters() if rates[id(p)] == rate]
        groups.append({"params": mine, "lr": settings.learning_rate * rate, "rate": rate})
    return groups


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate: linear warm-up, then a half cosine down to a hundredth."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    part = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))


@dataclass
class _Loop:
    net: nn.Module
    average: nn.Module
    best: nn.Module
    optimizer: torch.optim.Optimizer
    settings: TrainSettings
    device: torch.device
    state: State
    identity: dict[str, Any]
    loss_of: Loss

    def advance(self, images: np.ndarray, targets: np.ndarray) -> float:
        """One optimizer step; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.state.step, self.settings) * group["rate"]
        x = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
        y = torch.from_numpy(targets).to(self.device)
        self.net.train()
        bf16 = use_bf16(self.settings.precision, self.device)
        with torch.random.fork_rng(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            torch.manual_seed(self.settings.seed * 1_000_003 + self.state.step)  # dropout, the same after a resume
            logits = self.net(x)
        loss = self.loss_of(logits.float(), y)
        if not torch.isfinite(loss):
            raise GateError(f"the loss is {loss.item()} at step {self.state.step}: lower train.learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.state.step += 1
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.average, (1 + self.state.step) / (10 + self.state.step))
        for ours, theirs in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - decay)
            else:
                ours.copy_(theirs)

    def validate(self, validate: Validate | None, loss: float) -> None:
        """Score the averaged weights, keep them when they are the best so far, stop when none was for long."""
        state = self.state
        record = {"step": state.step, "loss": loss, "learning_rate": rate_at(state.step, self.settings)}
        if validate:
            record["score"] = score = validate(self.average)
            if score > state.best:
                state.best, state.best_step, state.stale = score, state.step, 0
                self.best.load_state_dict(self.average.state_dict())
            else:
                # Nothing has been learnt yet while the best is 0: patience starts afterwards.
                state.stale += state.best > 0
        state.history.append(record)
        state.done = state.step >= self.settings.steps or state.stale >= self.settings.patience

    def save(self, path: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for name in ("net", "average", "best"):
            tensors |= named(name, getattr(self, name).state_dict())
        tensors |= named("optimizer", optimizer_tensors(self.optimizer, self.net))
        save_tensors(path, tensors, {"state": asdict(self.state), "identity": self.identity})

    def restore(self, path: Path) -> None:
        tensors, meta = load_tensors(path)
        if meta["identity"] != self.identity:
            other = ", ".join(_differences(meta["identity"], self.identity))
            raise ConfigError(f"{path} belongs to other settings or data ({other}): use those, or choose another --out")
        self.state = State(**meta["state"])
        for name in ("net", "average", "best"):
            getattr(self, name).load_state_dict(under(name, tensors))
        restore_optimizer(self.optimizer, self.net, under("optimizer", tensors))


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Keys at which two nested JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [found for k in keys for found in _differences(a.get(k), b.get(k), f"{path}.{k}".lstrip("."))]
    return [] if a == b else [path.removeprefix("settings.")]


def _ahead(pool: ThreadPoolExecutor, batch: Batch, state: State, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches from the state's step on, the next one prepared while the current one is learnt."""
    if state.done:
        return
    coming = pool.submit(batch, state.step)
    for step in range(state.step, steps):
        now = coming.result()
        if step + 1 < steps:
            coming = pool.submit(batch, step + 1)
        yield now


class Logs:
    """TensorBoard scalars under `run/tensorboard`; nothing without a folder.

    Written here and now, not by torch's writer thread, which would die of a full disk without a word.
    """

    def __init__(self, run: Path | None) -> None:
        self._path = run / "tensorboard" / f"events.out.tfevents.{time.time_ns()}" if run else None

    def __call__(self, state: State) -> None:
        """Add the last record of the history."""
        if self._path is None:
            return
        # protobuf makes these classes when it is imported
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = state.history[-1]
        values = [Summary.Value(tag=key, simple_value=record[key]) for key in record if key != "step"]
        with writing(self._path):
            events = [Event(wall_time=time.time(), step=state.step, summary=Summary(value=values))]
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
            with self._path.open("ab") as file:
                for event in events:
                    RecordWriter(file).write(event.SerializeToString())
