# What is frozen into the virtual board: asyncio, the board package, the simulated peripherals, and what the source package has of
# micropython-lib, which is little.
# The build (ukernel.virtual.firmware) stages our own files in one folder and passes its path as STAGE_DIR.
include("$(MPY_DIR)/extmod/asyncio")
require("requests")
require("mip")
package("ucore", base_path="$(STAGE_DIR)")
for name in ("machine", "esp32", "network", "neopixel"):
    module(name + ".py", base_path="$(STAGE_DIR)")
for name in ("world", "board", "pins", "analog", "devices", "buses", "clocks", "uart", "boot"):
    module("_virtual" + name + ".py", base_path="$(STAGE_DIR)")
