"""log.txt of a run: warnings and errors, and those of the workers, which arrive through
multiprocessing-logging."""

import logging
import os
from pathlib import Path

from multiprocessing_logging import MultiProcessingHandler

FLUSH_SECONDS = 0.5  # how long the end of a run waits for records that may never arrive


class RunLog(MultiProcessingHandler):
    """Workers' records through a queue, and the master's past it: a worker that is killed in the
    middle of a record keeps the queue locked, and the master must neither lose what it has to
    say nor wait for ever when it ends."""

    def __init__(self, sub_handler: logging.Handler):
        super().__init__("log", sub_handler)
        self.master = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() == self.master:
            self.sub_handler.handle(record)
        else:
            super().emit(record)

    def close(self) -> None:
        self._is_closed = True
        self._receive_thread.join(FLUSH_SECONDS)
        self.sub_handler.close()
        logging.Handler.close(self)


def keep_log(path: Path) -> None:
    """From here on warnings go to `path`; to be called before the first worker is forked."""
    to_file = logging.FileHandler(path, delay=True)  # no file without a warning
    to_file.setFormatter(logging.Formatter("%(asctime)s %(processName)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(RunLog(to_file))
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk is reported by what must be saved
