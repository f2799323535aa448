"""What processes leave for each other in torchrun's store."""

from datetime import timedelta

import torch.distributed as dist

from firstlight.runtime.rendezvous import last_text_in


def test_a_store_that_has_gone_with_torchrun_says_nothing():
    held = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    store = dist.TCPStore("localhost", held.port, is_master=False, timeout=timedelta(seconds=2))
    store.set("fault", "a reason")
    assert last_text_in(store, "fault") == "a reason"
    del held
    assert last_text_in(store, "fault") == ""
