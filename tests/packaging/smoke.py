"""What runs in an environment that has bebr's wheel and its run-time dependencies, and nothing else: no test runner.

python -W error tests/packaging/smoke.py [--front] [--cuda]      the wheel must have: the front, with TLS; bebr._cuda
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from importlib import metadata
from pathlib import Path


def main() -> None:
    import numpy as np

    import bebr
    from bebr import _core

    assert bebr.__version__ == metadata.version("bebr"), "the extension and the package are of different versions"
    assert Path(bebr.__file__).parent == Path(_core.__file__).parent, "bebr is not the installed one"

    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2000, 32)) / np.sqrt(np.arange(1, 33))).astype(np.float32)
    model = bebr.train(x, bytes_per_vector=18, metric="cosine", seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for index in (bebr.FlatIndex(model), bebr.IVFIndex(model, 8), bebr.GraphIndex(model)):
            index.add(x)
            want = index.search(x[:50], 5)
            assert (want.ids[:, 0] == np.arange(50)).mean() > 0.9, f"{index.kind} does not find its own rows"
            index.save(Path(folder, "x.bebr"))
            for again in (bebr.open_index(Path(folder, "x.bebr")), pickle.loads(pickle.dumps(index))):
                assert np.array_equal(again.search(x[:50], 5).ids, want.ids), f"{index.kind} answers otherwise"
        model.save(Path(folder, "m.safetensors"))
        assert bebr.Binarizer.load(Path(folder, "m.safetensors")).digest == model.digest
    assert bebr.untrained(8, 6).encode(np.eye(8, dtype=np.float32)).planes.shape[0] == 8

    # Each extra is asked for by name where it is needed first.
    for call, extra in ((lambda: bebr.open("data"), "store"), (lambda: bebr.connect("localhost"), "server")):
        try:
            call()
        except ImportError as error:
            assert f"bebr[{extra}]" in str(error), error
        else:
            raise AssertionError(f"{extra} is not missing: this environment has more than bebr's dependencies")

    if "--front" in sys.argv:
        from bebr import _front

        assert _front.tls, "the server's front is without TLS"
    if "--cuda" in sys.argv:
        why = bebr.info()["cuda"]  # the devices, or why none can be used
        assert why != "not in this build" and "cannot be loaded" not in why, why
    print(f"bebr {bebr.__version__} works: {bebr.info()}")


if __name__ == "__main__":
    main()
