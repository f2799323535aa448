"""How the processes that torchrun has started find each other, and what they leave for those that are started next.

The store of torchrun outlives the processes, also when one has died and all are started anew. So it may hold what
earlier ones have written, and nothing in it says which start it is from; `meet` finds those that are alive.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch.distributed import Store

PAUSE_SECONDS = 0.01
MEETING_SECONDS = 600.0  # for all to be there


class Meeting(NamedTuple):
    """What processes that have met share.

    Attributes:
        store: what only they see.
        starts: how often processes have met at this place of the program, these included.
    """

    store: "Store"
    starts: int


def open_store(rank: int) -> "Store":
    """Return the store of torchrun; where another program has started the processes, rank 0 holds it."""
    from torch.distributed import PrefixStore, TCPStore

    holds = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and rank == 0
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=holds)
    return PrefixStore(f"firstlight/{os.environ.get('TORCHELASTIC_RUN_ID', '')}", store)


def meet(store: "Store", rank: int, size: int) -> Meeting:
    """Return what the processes share that are alive now and meet here.

    Rank 0 repeats what the others have written last, until each has found its own word in it.

    Raises:
        TimeoutError: if not all of them come.
    """
    from torch.distributed import PrefixStore

    own = secrets.token_hex(8)
    store.set(f"here/{rank}", own)
    if rank == 0:
        starts, words = store.add("starts", 1), [own] * size
        for _ in _attempts():
            words[1:] = [text_in(store, f"here/{other}") for other in range(1, size)]
            store.set("meeting", json.dumps([starts, words]))
            if all(text_in(store, f"met/{other}") == own for other in range(1, size)):
                break
    else:
        for _ in _attempts():
            starts, words = json.loads(text_in(store, "meeting") or "[0, []]")
            if len(words) == size and words[rank] == own:
                break
        store.set(f"met/{rank}", words[0])
    return Meeting(PrefixStore(words[0], store), starts)


def _attempts() -> Iterator[None]:
    started = time.monotonic()
    while time.monotonic() - started < MEETING_SECONDS:
        yield
        time.sleep(PAUSE_SECONDS)
    raise TimeoutError("not all processes have come")


def last_text_in(store: "Store", key: str) -> str:
    """Return a text from a store, likewise; empty also if torchrun has ended, and its store with it."""
    from torch.distributed import DistError

    try:
        return text_in(store, key)
    except DistError:
        return ""


def text_in(store: "Store", key: str) -> str:
    """Return a text from a store; empty if it is not there."""
    return store.get(key).decode() if store.check([key]) else ""
