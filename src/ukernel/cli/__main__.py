"""``python -m ukernel.cli`` is ``ucore``."""

from . import main

if __name__ == "__main__":
    main()
