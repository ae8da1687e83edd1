"""Pretrained weights from a file into a network: every tensor by name and shape, or an error naming a misfit."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flawsmith.core.errors import DataError

_COUNTER = "num_batches_tracked"  # not used for inference, and not in every file


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Raises `DataError` when the file is missing, truncated or of another format."""
    if not path.is_file():
        raise DataError(f"there is no weights file {path}")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is not a whole safetensors file ({error}): copy it again; write a .pth file as safetensors with "
            "safetensors.torch.save_file"
        ) from error


def fill(
    net: nn.Module,
    stored: Mapping[str, Tensor],
    where: Path,
    left_out: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
) -> None:
    """Put `stored` into `net`, in place; nothing is changed when something does not fit.

    left_out: how the names of tensors begin that the file holds and the network has no use for
    names:    our module's name to the file's, where they differ

    Raises `DataError` naming `where` and the first tensor that is missing, of another shape, not numbers or unknown.
    """
    filled: dict[str, Tensor] = {}
    rest = {name for name in stored if not name.endswith(_COUNTER) and not name.startswith(left_out)}
    for ours, tensor in net.state_dict().items():
        if ours.endswith(_COUNTER):
            continue
        module, _, leaf = ours.rpartition(".")
        theirs = f"{(names or {}).get(module, module)}.{leaf}".lstrip(".")
        filled[ours] = _checked(theirs, stored.get(theirs), tensor, where)
        rest.discard(theirs)
    if rest:
        raise DataError(f"{where} holds {min(rest)}, which the network does not: it is of another architecture")
    net.load_state_dict(filled, strict=False)  # strict would ask for the counters


def _checked(name: str, value: Tensor | None, wanted: Tensor, where: Path) -> Tensor:
    if value is None:
        raise DataError(f"{where} has no {name}, which the network needs: it is of another architecture")
    if value.shape != wanted.shape:
        given, ours = tuple(value.shape), tuple(wanted.shape)
        raise DataError(f"{where}: {name} is {given}, the network's is {ours}: it is of another architecture")
    if value.is_floating_point() != wanted.is_floating_point() or not bool(value.isfinite().all()):
        raise DataError(f"{where}: {name} holds values that are not finite numbers: the file is damaged")
    return value
