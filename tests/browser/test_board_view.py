"""`%ucore board` in a real JupyterLab: the virtual board is seen, and its inputs are moved, in the page."""

BOARD = """%%ucore
import neopixel, time
from machine import ADC, I2C, PWM, Pin
led = Pin(2, Pin.OUT, value=1)
button = Pin(0, Pin.IN, Pin.PULL_UP)
dim = PWM(Pin(4), freq=1000, duty_u16=16384)
adc = ADC(Pin(33))
pixels = neopixel.NeoPixel(Pin(48), 8)
for i in range(8):
    pixels[i] = (32 * i, 255 - 32 * i, 80)
pixels.write()
i2c = I2C(0)
for command in (0xAE, 0x20, 0, 0x21, 0, 127, 0x22, 0, 7, 0xAF):
    i2c.writeto(0x3C, bytes((0x80, command)))
i2c.writeto(0x3C, b"@" + bytes([(x * 7 + page) & 255 for page in range(8) for x in range(128)]))
print(led(), button())"""


def test_a_virtual_board_is_seen_and_its_inputs_are_moved(open_notebook):
    read = "%%ucore\nimport struct\nprint(button(), 1_190_000 < adc.read_uv() < 1_210_000)"
    notebook = open_notebook("boardview", BOARD, "%ucore board", read, "%%ucore\nled.off()", kernel="ucore-board")
    notebook.run(0)
    assert notebook.text(0).strip() == "1 1"
    notebook.run(1)
    notebook.wait("document.querySelector('.ucore-board [data-pin=\"2\"]')?.innerText.includes('high')")
    assert notebook.get("document.querySelectorAll('.ucore-board .pixels span').length") == 8
    assert notebook.get("document.querySelector('.ucore-board [data-pin=\"4\"]').innerText").split() == [
        "pin",
        "4",
        "25",
        "%",
        "at",
        "1000",
        "Hz",
    ]
    lit = "[...document.querySelector('.ucore-board canvas').getContext('2d').getImageData(0, 0, 128, 64).data].filter((v) => v === 252).length"
    assert notebook.get(lit) == sum(((x * 7 + page) & 255).bit_count() for page in range(8) for x in range(128))
    notebook.shoot("boardview")
    notebook.page.locator('.ucore-board [data-pin="0"] button').click()
    notebook.wait("document.querySelector('.ucore-board [data-pin=\"0\"]').innerText.includes('held high')")
    notebook.page.locator('.ucore-board [data-pin="0"] button').click()
    notebook.wait("document.querySelector('.ucore-board [data-pin=\"0\"]').innerText.includes('held low')")
    slider = notebook.page.get_by_role("slider", name="pin 33")
    slider.evaluate("(slider) => { slider.value = 1.2; slider.dispatchEvent(new Event('input')); }")
    notebook.run(2)
    assert notebook.text(2).strip() == "0 True"
    notebook.run(3)
    notebook.wait("document.querySelector('.ucore-board [data-pin=\"2\"]').innerText.includes('low')")
