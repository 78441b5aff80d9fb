# What is frozen into the virtual board: asyncio, the board package and the simulated peripherals.
# The build (ukernel.firmware) stages our own files in one folder and passes its path as STAGE_DIR.
include("$(MPY_DIR)/extmod/asyncio")
package("ucore", base_path="$(STAGE_DIR)")
module("machine.py", base_path="$(STAGE_DIR)")
module("esp32.py", base_path="$(STAGE_DIR)")
