"""An emulated Polatis beam-steering switch: real bytes, mirrors that take time.

    python -m emulators.polatis --topology FILE --chassis NAME [--profile addendum]
        --controller HOST:PORT [--controller ...] [--reconnect-s 0.3] [--idle-s 5]
        [--plant HOST:PORT] [--startup volatile|preserve --state-file FILE]
    ... --profile bristol-2014 --controller HOST:PORT
        [--listen HOST:PORT --username NAME --password-file FILE]      (TL1)
    ... --profile restconf --listen HOST:PORT --username NAME --password-file FILE
        [--answers at-once|settled] [--list-name pair|pairs] [--tls-certificate FILE --tls-key FILE]

One device (`device`), three faces. `addendum` connects to the controller and obeys
`sdn_client/CFLOW_MOD.md`. `bristol-2014` does so as the agent of 2014 did, faults included, and is
read over TL1 (`sdn_client/TL1.md`). `restconf` serves the tree of `optical-switch@2018-03-22.yang`.

Towards the fibre plant it tells, as lines of JSON, which pairs pass light at this moment, and hears
which fibres are cut; a switch that died passes none. Mirrors move in real time, whatever the lab's
time scale.
"""
