"""The optical agent: an OpenFlow 1.3 switch towards the controller, a driver towards the device.

    qnfv serve optical-agent --settings FILE

A flow `in_port=a -> output b` is the cross-connect {a, b}. `guard` refuses what must never be
joined, `flows` reads what a FLOW_MOD asks for, `ordering` says what may start when, `table` does it
on the device, `session` is one connection to the controller, `agent` the life of the whole,
`app` wires. The bytes: `sdn_client/OPENFLOW13.md`.
"""
