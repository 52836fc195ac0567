"""Python's garbage collector beside requests that are counted in milliseconds."""

import gc

_settled = False


def settle() -> None:
    """Keep what lives as long as the process out of the collector's sight, once a process.

    Modules, plans and models are hundreds of thousands of objects. Each full collection would look at all of them and
    stop every request for a tenth of a second, once or twice a second under load.
    """
    global _settled  # one collector a process
    if not _settled:
        _settled = True
        gc.collect()
        gc.freeze()
