"""The `network` module of a virtual board: a Wi-Fi that connects within half a second.

``"ucore"`` takes any password of eight characters or more, or none; ``"guest"`` none. Every other name is not found. The board's sockets
are the computer's.
"""

import time

import machine

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
AUTH_OPEN = 0
AUTH_WPA2_PSK = 3

CONNECT_MS = 500
_NETWORKS = (  # as `WLAN.scan` says it: name, address, channel, dBm, security, hidden
    (b"ucore", b"\x02\x00\x5e\x00\x00\x01", 6, -48, AUTH_WPA2_PSK, False),
    (b"guest", b"\x02\x00\x5e\x00\x00\x02", 11, -67, AUTH_OPEN, False),
)
_name = "mpy-virtual"
_country = "XX"


def hostname(name=None):
    """Return the board's name in the network, or set it."""
    global _name
    if name is None:
        return _name
    _name = name
    return None


def country(code=None):
    """Return the country whose rules hold, or set it: two letters."""
    global _country
    if code is None:
        return _country
    _country = code
    return None


class WLAN:
    """``wlan = WLAN(STA_IF); wlan.active(True); wlan.connect("ucore", "any password")``; there is one object of each kind."""

    IF_STA = STA_IF
    IF_AP = AP_IF

    _made = {}

    def __new__(cls, interface=STA_IF):
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        found = cls._made.get(interface)
        if found is None:
            found = cls._made[interface] = object.__new__(cls)
            found._interface = interface
            found._active = False
            found._status = STAT_IDLE
            found._since = 0
            found._network = None
            found._options = {"essid": "", "ssid": "", "channel": 1, "txpower": 20.0}
            found._addresses = (
                ("0.0.0.0",) * 4 if interface == STA_IF else ("192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0")
            )
        return found

    def __init__(self, interface=STA_IF):
        pass

    def active(self, on=None):
        """Return whether the radio is on, or turn it on or off."""
        if on is None:
            return self._active
        self._active = bool(on)
        if not on:
            self.disconnect()
        return self._active

    def scan(self):
        """Return the networks in reach. Raises OSError where the radio is off."""
        self._need_radio()
        return list(_NETWORKS)

    def connect(self, ssid=None, key=None, **options):
        """Begin to connect; `isconnected` and `status` say how it goes. Raises OSError where the radio is off."""
        self._need_radio()
        name = ssid.encode() if isinstance(ssid, str) else ssid
        self._since = time.ticks_ms()
        self._network = None
        self._status = STAT_NO_AP_FOUND
        for network in _NETWORKS:
            if network[0] == name:
                opens = not key or network[4] == AUTH_OPEN or len(key) >= 8
                self._network = network if opens else None
                self._status = STAT_GOT_IP if opens else STAT_WRONG_PASSWORD

    def disconnect(self):
        """Leave the network."""
        self._network = None
        self._status = STAT_IDLE

    def isconnected(self):
        """Return whether it is connected (an access point: whether it is on)."""
        if self._interface == AP_IF:
            return self._active
        return self._network is not None and time.ticks_diff(time.ticks_ms(), self._since) >= CONNECT_MS

    def status(self, what=None):
        """Return how connecting goes (STAT_...), or what is asked for: ``"rssi"`` in dBm, ``"stations"``."""
        if what == "rssi":
            if not self.isconnected():
                raise OSError("not connected")
            return self._network[3]
        if what == "stations":
            return []
        if what is not None:
            raise ValueError("unknown status param")
        if self._status != STAT_IDLE and time.ticks_diff(time.ticks_ms(), self._since) < CONNECT_MS:
            return STAT_CONNECTING
        return self._status

    def ifconfig(self, addresses=None):
        """Return (address, mask, gateway, DNS), or set them: a tuple, or ``"dhcp"``."""
        if addresses is not None:
            if addresses != "dhcp":
                self._addresses = tuple(addresses)
            return None
        if self._interface == STA_IF and self.isconnected() and self._addresses[0] == "0.0.0.0":
            return ("192.168.4.42", "255.255.255.0", "192.168.4.1", "192.168.4.1")
        return self._addresses

    def ipconfig(self, what=None, **options):
        """Return one of ``"addr4"`` (address and mask), ``"gw4"``, ``"dhcp4"``; or set them."""
        address, mask, gateway, _ = self.ifconfig()
        if what == "addr4":
            return (address, mask)
        if what == "gw4":
            return gateway
        if what == "dhcp4":
            return True
        if what is not None:
            raise ValueError("unknown config param")
        return None

    def config(self, what=None, **options):
        """Return an option, such as ``"mac"``, ``"ssid"``, ``"channel"``; or set some."""
        if what == "mac":
            return machine.unique_id()
        if what is None:
            self._options.update(options)
            return None
        if what in ("ssid", "essid") and self._interface == STA_IF:
            return self._network[0].decode() if self.isconnected() else ""
        if what not in self._options:
            raise ValueError("unknown config param")
        return self._options[what]

    def _need_radio(self):
        if not self._active:
            raise OSError("Wifi Not Started")
