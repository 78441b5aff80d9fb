"""What `live_plot` draws: charts that follow pipes, on a canvas in the page or by matplotlib, and the pictures that are saved.
`pipes` uses `chart` (the charts there are) and `scene` (how one looks)."""
