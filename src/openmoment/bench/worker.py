"""A run in a process of its own: python -m openmoment.bench.worker FOLDER

What it says goes to the folder's log; how it ended, into ``run.json`` or ``error.json``.
"""

import os
import sys
import time
import traceback
from pathlib import Path
from threading import Thread

from openmoment.bench.job import read_job
from openmoment.bench.record import is_finished, write_failure, write_record
from openmoment.errors import OpenMomentError
from openmoment.storage.leases import lease

LEASE = "run.lease"
DONE, FAULT, FAILED, TAKEN = 0, 1, 2, 3


def work(folder: Path) -> int:
    """Do the run that the folder is for; how it ended. One process at a time does."""
    with lease(folder / LEASE) as outcome:
        if outcome == "taken":
            return TAKEN
        if is_finished(folder):
            return DONE
        try:
            from openmoment.bench.work import perform

            write_record(perform(read_job(folder), folder), folder)
        except OpenMomentError as error:
            write_failure(" ".join(str(error).split()), folder)
            return FAILED
        except Exception as error:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}. Our fault, see log.txt."
            write_failure(" ".join(message.split()), folder)
            return FAULT
        return DONE


def end_with_parent(*, every_s: float = 1.0) -> None:
    """From now on this process ends when the one that started it does, however that ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_s)
        os._exit(FAULT)

    Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    sys.exit(work(Path(sys.argv[1])))
