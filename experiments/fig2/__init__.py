"""Fig. 2 (a) to (c) of Aguado et al., ECOC 2016: initialisation time, key rate, QBER over distance.

`test_bed` runs turns of one Alice with emulated units as processes, `unit_history` reads what the
units log, `report` is what is kept of it, `fit` and `paper` set it beside the printed figure,
`plots` draws.
"""
