"""Subscriptions of SOL003 clients, and the notifications that they are sent.

A notification is written in the transaction of the change that it tells of (`outbox`), and sent
afterwards until its receiver has taken it (`courier`).
"""
