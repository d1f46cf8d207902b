"""How far a tool is: a moving line on a terminal, else one now and then.

And nothing of what the hosts would tell besides.
"""

import io
import logging
import time
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any, Callable, Iterable, Iterator, Optional

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.text import Text

# Lines that stay are a minute apart at first, then a tenth of all the time
# before: ten in the first ten minutes, and not a hundred in a week.
SECONDS, SHARE = 60, 0.1


def can_move(console: Console) -> bool:
    """Tell whether a console can write a line over and over.

    Rich itself does so in files, too, where FORCE_COLOR asks for colours.
    """
    return console.is_interactive and console.file.isatty()


def now_and_then(write: Callable[[str], Any]) -> Callable[[str], None]:
    """Pass on a text only if the last that was passed on is long ago."""
    start = last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= max(SECONDS, SHARE * (now - start)):
            last = now
            write(text)

    return show


@contextmanager
def silence(level: int = logging.WARNING) -> Iterator[None]:
    """Leave out what the hosts print, and log up to a level."""
    with redirect_stdout(io.StringIO()):
        logging.disable(level)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@contextmanager
def status(console: Console) -> Iterator[Callable[[str], None]]:
    """Show what is under way: gives a function that takes the newest text."""
    if can_move(console):
        with console.status('') as line:
            yield lambda text: line.update(Text(text))
    else:
        yield now_and_then(lambda text: console.print(text, soft_wrap=True))


def track(
    items: Iterable[Any], title: str, total: Optional[int] = None
) -> Iterator:
    """Go through items and show on stderr how many are done.

    Args:
        items (Iterable): The items.
        title (str): What they are, such as 'Pictures'.
        total (int, optional): Their number. Defaults to ``len(items)``.
    """
    total = len(items) if total is None else total  # type: ignore[arg-type]
    console = Console(stderr=True, highlight=False, markup=False)
    if can_move(console):
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with Progress(*columns, console=console) as bar:
            yield from bar.track(items, total, description=title)
        return
    start, done = time.monotonic(), 0

    def write(text: str) -> None:
        console.print(text, soft_wrap=True)

    show = now_and_then(write)
    for done, item in enumerate(items, start=1):
        yield item
        seconds = time.monotonic() - start
        left = timedelta(seconds=round(seconds / done * max(total - done, 0)))
        show(f'{title}: {done} of {total}, {left} left')
    took = timedelta(seconds=round(time.monotonic() - start))
    write(f'{title}: {done} of {total} in {took}')
