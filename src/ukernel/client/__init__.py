"""How other processes find, start and talk to the board hub. `connection` is what others use: `connect`, `connect_to_pipes`,
`open_reader`; `hubprocess` starts a hub."""
