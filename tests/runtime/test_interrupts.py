import signal
import threading

import pytest

from firstlight.runtime import signals
from firstlight.runtime.interrupts import holding_interrupts, raise_if_interrupted

pytestmark = pytest.mark.usefixtures("hears_interrupts")


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_until_it_is_asked_for():
    done = []
    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        interrupt()
        done.append("the step")
        raise_if_interrupted()
        done.append("the next step")
    assert done == ["the step"]


def test_an_interrupt_is_not_lost_where_python_cannot_raise():
    class Finalized:
        def __del__(self):
            interrupt()

    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        Finalized()
        raise_if_interrupted()
        pytest.fail("the interrupt was lost")


def test_an_interrupt_that_nobody_asked_for_comes_at_the_end():
    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        interrupt()


def test_a_copy_of_an_interrupt_that_comes_at_once_is_no_second_one():
    done = []
    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        interrupt()
        interrupt()
        done.append("the step")
        raise_if_interrupted()
    assert done == ["the step"]


def test_a_second_interrupt_does_not_wait_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr("firstlight.runtime.interrupts.SAME_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        interrupt()
        interrupt()
        pytest.fail("the second one waited")
    with holding_interrupts():
        raise_if_interrupted()


def test_an_error_within_the_block_does_not_hide_it():
    with pytest.raises(KeyboardInterrupt) as found, holding_interrupts():
        interrupt()
        raise ZeroDivisionError
    assert isinstance(found.value.__context__, ZeroDivisionError)
    raise_if_interrupted()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_that_python_does_not_handle_stays_so(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with holding_interrupts():
            assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with holding_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_goes_on_as_before():
    worked = []

    def work():
        with holding_interrupts():
            raise_if_interrupted()
            worked.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert worked == [True]


def test_a_signal_that_was_held_back_is_noted_once(monkeypatch):
    heard = signals._Heard(doing="ending")
    monkeypatch.setattr(signals, "_heard", heard)
    before = signal.signal(signal.SIGINT, signals._handle)
    try:
        with holding_interrupts():
            interrupt()
            assert heard.handled == 1 and not heard.signals
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard.handled == 1 and [number for number, _ in heard.signals] == [signal.SIGINT]
