"""An emulated Clavis2 unit: the vendor's command line, log lines and IDQ3P port, and its physics.

It is run as a program (`python -m emulators.clavis2`); nothing of a service imports it. README.md
beside this file says what is imitated, what is simplified and what is invented.
"""
