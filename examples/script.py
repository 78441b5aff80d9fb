"""A measurement without a notebook: a board samples in the background, this program reads, and what came stands in a CSV file.

    python examples/script.py [BOARD] [--seconds 5] [--output measured.csv]

BOARD is a name, a port or a URL; without one it is UCORE_BOARD, or the only board there is.
"""

import argparse
import csv
import statistics

from ukernel.boards import connect
from ukernel.pipes import collect

PERIOD_MS = 10

# Runs on the board: what the pipe "volts" gets every PERIOD_MS, until it is closed.
START = f"""
from machine import ADC, Pin
adc = ADC(Pin(4))

def read_volts():
    return adc.read_uv() / 1e6

ucore.every({PERIOD_MS}, read_volts, pipe="volts");
"""


def measure(board_name: "str | None", seconds: float, path: str) -> None:
    """Write time and voltage of every sample into a CSV file, and print a summary."""
    with connect(board_name) as board:
        print(f"Measuring on {board.name} ({board.description}) for {seconds:g} s")

        @board.function
        def average(pin, n):  # runs on the board, is called here
            from machine import ADC, Pin

            adc = ADC(Pin(pin))
            return sum(adc.read_uv() for _ in range(n)) / n / 1e6

        print(f"Before: {average(4, 16):.4f} V")
        board.run(START)
        try:
            volts, times = collect("volts", seconds=seconds, board=board.name, timestamps=True)
        finally:
            board.run("ucore.close_pipe('volts')")
    if not len(volts):
        raise SystemExit(f"No sample came within {seconds:g} s.")
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["seconds", "volts"])
        rows.writerows((f"{time - times[0]:.6f}", f"{value:.6f}") for time, value in zip(times, volts))
    print(f"{len(volts)} samples, {min(volts):.4f} to {max(volts):.4f} V, mean {statistics.fmean(volts):.4f} V, in {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure a voltage with a board.")
    parser.add_argument("board", nargs="?", help="a name, a port or a URL")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--output", default="measured.csv")
    options = parser.parse_args()
    measure(options.board, options.seconds, options.output)
