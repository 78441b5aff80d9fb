"""How other processes find, start and talk to the board hub. All of it is in `connection`: `connect`, `connect_to_pipes`, `open_reader`."""
