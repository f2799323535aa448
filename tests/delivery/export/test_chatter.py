"""The exporters are quiet, and whatever else the process shows meanwhile goes on."""

import logging
import sys
import threading
import warnings

from firstlight.delivery.export.chatter import no_chatter


def test_nothing_of_this_thread_is_shown_and_all_of_others_is(capsys):
    with no_chatter():
        sys.stdout.write("graph\n")
        sys.stderr.write("trace\n")
        warnings.warn("deprecated", stacklevel=1)
        logging.getLogger("torch.onnx").error("unsupported")
        bar = threading.Thread(target=lambda: sys.stderr.write("progress\n"))
        bar.start()
        bar.join()
    sys.stdout.write("after\n")
    assert capsys.readouterr() == ("after\n", "progress\n")
