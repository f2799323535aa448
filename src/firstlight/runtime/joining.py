"""Join the other processes of a run where torchrun has started several, and tell them why this one has failed."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from firstlight.errors import UserError
from firstlight.runtime.distributed import ALONE, LostError, World, acting_in, is_lost, launched, world
from firstlight.runtime.parent import stopping_with_parent
from firstlight.runtime.process_groups import process_groups, several
from firstlight.runtime.rendezvous import last_text_in, meet, open_store

FAULT = "fault"  # in the store: why a process has ended


@dataclass
class _Joins:
    """How often this process has joined the others: a program may train several times."""

    count: int = 0


_joins = _Joins()


@contextmanager
def joining() -> Iterator[World]:
    """Join the other processes within the block, if torchrun has started several; yield the world.

    Raises:
        LostError: if one of them ends meanwhile; it says why, if that is known.
    """
    if world() is not ALONE:
        yield world()
        return
    found = launched()
    if not (found.size > 1 or "TORCHELASTIC_RUN_ID" in os.environ) or "MASTER_PORT" not in os.environ:
        with acting_in(found):
            yield found
        return
    from torch.distributed import PrefixStore

    _joins.count += 1
    store = PrefixStore(str(_joins.count), open_store(found.rank))
    meeting = meet(store, found.rank, found.size)
    found = replace(found, restarts=meeting.starts - 1, store=store)
    if found.size == 1:
        with acting_in(found), stopping_with_parent():
            yield found
        return
    with process_groups(found, meeting.store) as groups, acting_in(several(found, *groups)), stopping_with_parent():
        try:
            yield world()
        except KeyboardInterrupt as stop:
            if found.is_leader and (why := last_text_in(meeting.store, FAULT)):
                stop.add_note(why)
            raise
        except Exception as error:
            if is_lost(error):
                raise LostError(last_text_in(meeting.store, FAULT), *getattr(error, "__notes__", ())) from error
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            meeting.store.set(FAULT, f"process {found.rank} of {found.size}, on {platform.node()}: {reason}")
            raise
