"""Who gets Alice next, and what happens in a turn of hers.

`policies` choose (pure functions), `turn` is the state machine of one turn, `ports` name what a
turn needs of the world.
"""
