"""What tests of training share: a way to interrupt a run in the middle of an epoch."""

import pytest


@pytest.fixture
def interrupt_in_epoch(monkeypatch):
    """Return a function that makes training stop, as by Ctrl-C, after the first step of an epoch."""
    from firstlight.training import learn
    from firstlight.training.state import Step

    whole = learn.train_epochs

    def interrupt(epoch: int) -> None:
        def interrupted(*arguments):
            for event in whole(*arguments):
                if isinstance(event, Step) and event.epoch == epoch:
                    raise KeyboardInterrupt
                yield event

        monkeypatch.setattr(learn, "train_epochs", interrupted)

    return interrupt
