# What µcore adds to any MicroPython firmware: make ... FROZEN_MANIFEST=.../firmware/manifest.py
# Only the package: a frozen main.py would shadow the one that people put on their board.
import os

# The port's own modules first (a board's definition names its manifest; fall back on the port's).
for port_manifest in ("$(BOARD_DIR)/manifest.py", "$(PORT_DIR)/boards/manifest.py"):
    try:
        include(port_manifest)
        break
    except Exception as error:
        if "manifest.py" not in str(error):
            raise

# The package lies in src/ in a checkout, beside this folder's parent in an installed wheel.
package("ucore", base_path="../src" if os.path.isdir("../src/ucore") else "../..")
