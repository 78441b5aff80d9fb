# What is frozen into the virtual board: asyncio, the board package and the simulated peripherals.
# The build (ukernel.firmware) stages our own files in one folder and passes its path as STAGE_DIR.
include("$(MPY_DIR)/extmod/asyncio")
package("ucore", base_path="$(STAGE_DIR)")
for name in ("machine", "esp32", "network", "neopixel"):
    module(name + ".py", base_path="$(STAGE_DIR)")
for name in ("world", "board", "pins", "analog", "devices", "buses", "clocks", "uart", "boot"):
    module("_virtual" + name + ".py", base_path="$(STAGE_DIR)")
