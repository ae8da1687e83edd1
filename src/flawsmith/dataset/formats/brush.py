"""Label Studio's brush strokes: a bit stream of runs over the bytes of an RGBA picture; alpha is the mask.

The stream: 32 bits number of values, 5 bits word size - 1, 4 x 4 bits run sizes - 1; then blocks, each 1 bit (1: one
value repeated, 0: values in full), 2 bits naming a run size, that many bits of length - 1, then the value or values.
Source: decode_rle in label_studio_converter/brush.py, @thi.ng/rle-pack.
"""

from collections.abc import Sequence

import numpy as np

from flawsmith.core.errors import DataError

_HEADER_BITS = 32 + 5 + 4 * 4


def brush_mask(rle: Sequence[int], shape: tuple[int, int], where: str) -> np.ndarray:
    """Bool (H, W): where the alpha of the RGBA picture is set. Raises `DataError` for a stream of another size."""
    values = decode_brush(rle, 4 * shape[0] * shape[1], where)
    return values.reshape(*shape, 4)[:, :, 3] > 0


def decode_brush(rle: Sequence[int], size: int, where: str) -> np.ndarray:
    """The values, uint32 (size,). Raises `DataError` for bytes that are none, another size or a stream cut short."""
    if any(not 0 <= value <= 255 for value in rle):
        raise DataError(f"{where}: brush run lengths are bytes, 0 to 255; export the file again")
    bits = np.unpackbits(np.asarray(rle, np.uint8))
    if bits.size < _HEADER_BITS or _number(bits[:32]) != size:
        raise DataError(f"{where}: brush run lengths are not for an image of {size // 4} pixels; export the file again")
    word = _number(bits[32:37]) + 1
    run_sizes = [_number(bits[i : i + 4]) + 1 for i in range(37, _HEADER_BITS, 4)]
    out = np.zeros(size, np.uint32)
    at, done = _HEADER_BITS, 0
    while done < size:
        repeated = at < bits.size and bits[at] == 1
        run_bits = run_sizes[_number(bits[at + 1 : at + 3])]
        at += 3 + run_bits
        length = 1 + _number(bits[at - run_bits : at])
        used = word if repeated else word * length
        if at + used > bits.size or done + length > size:
            raise DataError(f"{where}: brush run lengths end early or run over; export the file again")
        words = bits[at : at + used].reshape(-1, word)
        out[done : done + length] = words @ (1 << np.arange(word - 1, -1, -1, dtype=np.int64))
        at, done = at + used, done + length
    return out


def _number(bits: np.ndarray) -> int:
    return int("".join(map(str, bits.tolist())) or "0", 2)
