"""An emulated Polatis beam-steering switch: the real bytes of CFLOW_MOD.md, mirrors that take time.

    python -m emulators.polatis --topology FILE --chassis NAME --controller HOST:PORT
        [--plant HOST:PORT] [--reconnect-s 0.3] [--profile addendum]
        [--startup volatile|preserve --state-file FILE]

It connects to the controller like the real agent does and obeys `sdn_client/CFLOW_MOD.md`. Towards
the fibre plant it tells, as lines of JSON, which pairs pass light at this moment; a switch that
died passes none. Mirrors move in real time, whatever the lab's time scale.
"""
