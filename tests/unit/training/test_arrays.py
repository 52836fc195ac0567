"""Files of arrays: what is on the allow-list comes back, anything else is refused."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from shared.training.algorithms.arrays import AllowList, pack, require, require_finite, unpack

ALLOWED: AllowList = {"weights": ("<f8", 2), "bias": ("<f4", 0), "count": ("<i8", 1)}
ARRAYS = {"weights": np.arange(6.0).reshape(2, 3), "bias": np.float32(1.5), "count": np.array([3])}


def _npz(name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_arrays_come_back_as_they_were_and_equal_ones_give_equal_bytes() -> None:
    """The file is one that numpy itself can read."""
    content = pack(ARRAYS, ALLOWED)
    read = unpack(content, ALLOWED)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
    assert pack(read, ALLOWED) == content
    assert set(np.load(io.BytesIO(content), allow_pickle=False)) == set(ALLOWED)


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a file was executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of arrays"),
        (pickle.dumps(ARRAYS), "not a file of arrays"),
        (_npz("weights.npy", _npy(np.array([_Trap()], dtype=object))), r"weights is \|O"),
        (_npz("weights.npy", _npy(np.zeros((2, 3), dtype=np.float32))), "weights is <f4 of rank 2"),
        (_npz("weights.npy", _npy(np.zeros(3))), "weights is <f8 of rank 1"),
        (_npz("weights.npy", _npy(np.zeros((2, 3), order="F"))), "weights is <f8"),
        (_npz("weights.npy", _npy(np.zeros((2, 3)))[:-8]), "another size"),
        (_npz("weights.npy", b"x" * 200), "magic"),
        (_npz("weights.npy", _npy(np.zeros((2, 3))), zipfile.ZIP_DEFLATED), "compressed"),
        (_npz("other.npy", _npy(np.zeros(3))), "'other.npy' is not an array of this model"),
        (_npz("../weights.npy", _npy(np.zeros((2, 3)))), "is not an array of this model"),
        (_npz("weights", _npy(np.zeros((2, 3)))), "is not an array of this model"),
        (pack(ARRAYS, ALLOWED)[:-30], "not a file of arrays"),
    ],
)
def test_what_is_not_on_the_allow_list_is_refused(content: bytes, message: str) -> None:
    """Names, dtypes, ranks and sizes are those of the code; nothing is executed, nothing is unpacked."""
    with pytest.raises(ValueError, match=message):
        unpack(content, ALLOWED)


def test_missing_and_infinite_arrays_are_named() -> None:
    """What a model cannot do without must be there and be finite."""
    with pytest.raises(ValueError, match="lacks weights"):
        require({"bias": np.zeros(1)}, "weights", "bias")
    with pytest.raises(ValueError, match="not finite: bias"):
        require_finite({"bias": np.array(np.nan), "weights": np.zeros(2)})
